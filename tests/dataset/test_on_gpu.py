"""A data set on a CUDA device: the same records, and wrong labels that do not break the device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_data import BAD, Rows, bad_rows, network
from torch.utils.data import DataLoader

from captum_xdnn import XIntegratedGradients
from captum_xdnn.dataset import attribute_dataset, read_shards

pytestmark = pytest.mark.gpu
pytest.importorskip("pyarrow")


def attribute(folder: Path, device: str, data: Rows, **loading: bool) -> None:
    xig = XIntegratedGradients(network().to(device))
    loader = DataLoader(data, 8, **loading)
    attribute_dataset(xig, loader, folder, progress=False)


@pytest.mark.parametrize("pinned", [False, True])
def test_the_same_as_on_the_cpu(pinned: bool, tmp_path: Path) -> None:
    attribute(tmp_path / "cpu", "cpu", bad_rows(60))
    attribute(tmp_path / "cuda", "cuda", bad_rows(60), pin_memory=pinned)
    mine, theirs = read_shards(tmp_path / "cuda"), read_shards(tmp_path / "cpu")
    assert mine["id"].tolist() == theirs["id"].tolist()
    assert len(mine["id"]) == 60 - len(BAD)
    np.testing.assert_allclose(mine["attribution"], theirs["attribution"], rtol=1e-3, atol=1e-5)


def test_labels_that_no_output_has(tmp_path: Path) -> None:
    attribute(tmp_path, "cuda", Rows(10, dict.fromkeys(range(5), (torch.ones(6), 99))))
    assert len(read_shards(tmp_path)["id"]) == 5
    assert torch.ones(2, device="cuda").sum().item() == 2  # the device still works


def test_mixed_precision(tmp_path: Path) -> None:
    xig = XIntegratedGradients(network().cuda())
    loader = DataLoader(Rows(20), 8)
    attribute_dataset(xig, loader, tmp_path, progress=False, autocast=torch.float16)
    assert set(read_shards(tmp_path)["route"]) == {"single_pass"}
