"""A whole data set: all of it once, what is wrong set aside, a stopped run going on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from killed_run import differences
from small_data import BAD, CLASSES, Rows, bad_rows, network
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader

from captum_xdnn import XIntegratedGradients, XLayerIntegratedGradients
from captum_xdnn.dataset import ParquetShards, SumChannels, TopK, attribute_dataset, read_shards

COUNT = 50


def attribute(folder: Path, data: Rows | None = None, size: int = 8, **settings: Any) -> Any:
    loader = DataLoader(Rows(COUNT) if data is None else data, size)
    method = settings.pop("method", None) or XIntegratedGradients(network())
    sink = ParquetShards(folder, shard_size=settings.pop("shard_size", 16))
    return attribute_dataset(method, loader, sink, progress=False, **settings)


def test_all_samples_once(tmp_path: Path) -> None:
    run = attribute(tmp_path)
    assert (run.attributed, run.before, run.rejects) == (COUNT, 0, ())
    assert run.per_second > 0
    found, data = read_shards(tmp_path), Rows(COUNT)
    assert found["id"].tolist() == list(range(COUNT))
    labels = torch.arange(COUNT) % CLASSES
    expected = XIntegratedGradients(network()).attribute(data.rows, target=labels)
    assert_close(torch.from_numpy(found["attribution"]), expected, rtol=1e-5, atol=1e-6)
    assert np.abs(found["completeness_gap"]).max() < 1e-6


def test_a_program_without_a_console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    method = XIntegratedGradients(network())
    run = attribute_dataset(method, DataLoader(Rows(COUNT), 8), ParquetShards(tmp_path))
    assert run.attributed == COUNT


def test_with_captums_arguments(tmp_path: Path) -> None:
    method = IntegratedGradients(network())
    loader = DataLoader(Rows(COUNT), 8)
    attribute_dataset(
        method, loader, tmp_path, progress=False, n_steps=3, method="riemann_left", baselines=0.1
    )
    labels = torch.arange(COUNT) % CLASSES
    expected = method.attribute(Rows(COUNT).rows, 0.1, labels, n_steps=3, method="riemann_left")
    found = torch.from_numpy(read_shards(tmp_path)["attribution"])
    assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1, 4, 20])
@pytest.mark.parametrize("workers", [0, 2])
def test_bad_samples_are_named_and_the_others_go_on(
    size: int, workers: int, tmp_path: Path
) -> None:
    loader = DataLoader(bad_rows(), size, num_workers=workers)
    xig = XIntegratedGradients(network())
    run = attribute_dataset(xig, loader, tmp_path, progress=False)
    said = {reject.id: reject.reason for reject in run.rejects}
    assert sorted(said) == sorted(BAD)
    for index, (_, reason) in BAD.items():
        assert reason in said[index]
        assert "\n" not in said[index]
    lines = (tmp_path / "rejects.csv").read_text().splitlines()
    assert len(lines) == 1 + len(BAD)
    found = read_shards(tmp_path)
    good = [i for i in range(20) if i not in BAD]
    assert found["id"].tolist() == good
    expected = xig.attribute(bad_rows().rows[good], target=torch.tensor(good) % CLASSES)
    assert_close(torch.from_numpy(found["attribution"]), expected, rtol=1e-5, atol=1e-6)


def test_what_was_set_aside_is_tried_again_when_asked(tmp_path: Path) -> None:
    attribute(tmp_path, bad_rows())
    again = attribute(tmp_path, Rows(20))
    assert (again.attributed, len(again.rejects)) == (0, len(BAD))
    mended = attribute(tmp_path, Rows(20), retry_rejected=True)
    assert (mended.attributed, mended.rejects) == (len(BAD), ())
    assert read_shards(tmp_path)["id"].tolist() == list(range(20))
    assert not (tmp_path / "rejects.csv").exists()


@pytest.mark.parametrize("first", BAD)
def test_a_bad_sample_that_comes_first_does_not_stop_the_run(first: int, tmp_path: Path) -> None:
    run = attribute(tmp_path, Rows(9, {0: BAD[first][0]}), size=4)
    assert [r.id for r in run.rejects] == [0]
    assert read_shards(tmp_path)["id"].tolist() == list(range(1, 9))


def test_bad_samples_that_alone_are_left_do_not_stop_the_run(tmp_path: Path) -> None:
    first = attribute(tmp_path, bad_rows(), size=4)
    again = attribute(tmp_path, bad_rows(), size=4, retry_rejected=True)
    assert (again.attributed, again.before) == (0, 20 - len(BAD))
    assert {r.id for r in again.rejects} == {r.id for r in first.rejects}
    nameless = {i: (torch.ones(6), "shoe") for i in BAD}
    still = attribute(tmp_path, Rows(20, nameless), size=4, retry_rejected=True)
    assert still.attributed == 0
    assert all("labels must be a tensor" in r.reason for r in still.rejects)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_run_that_was_stopped_goes_on(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attribute(tmp_path / "whole", bad_rows(), size=3)
    original, calls = XIntegratedGradients.attribute, []

    def stops(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 5:
            raise error
        return original(self, *args, **kwargs)

    monkeypatch.setattr(XIntegratedGradients, "attribute", stops)
    with pytest.raises(error):
        attribute(tmp_path / "stopped", bad_rows(), size=3)
    monkeypatch.undo()
    done = len(read_shards(tmp_path / "stopped")["id"])
    assert 0 < done < 20 - len(BAD)
    run = attribute(tmp_path / "stopped", bad_rows(), size=3)
    assert run.before == done
    assert run.attributed == 20 - len(BAD) - done
    assert differences(tmp_path / "whole", tmp_path / "stopped") == []


def test_another_network_does_not_go_on(tmp_path: Path) -> None:
    attribute(tmp_path)
    other = network()
    with torch.no_grad():
        other[0].weight[0, 0] += 1
    with pytest.raises(ValueError, match="weights"):
        attribute(tmp_path, method=XIntegratedGradients(other))
    with pytest.raises(ValueError, match="target: 'label', now 1"):
        attribute(tmp_path, target=1)
    with pytest.raises(ValueError, match="baselines"):
        attribute(tmp_path, baselines=torch.ones(1, 6))
    net = network()
    layered = XLayerIntegratedGradients(net, net[2])
    with pytest.raises(ValueError, match="layer: None, now '2'"):
        attribute(tmp_path, method=layered)
    assert attribute(tmp_path).before == COUNT


def test_what_is_kept(tmp_path: Path) -> None:
    attribute(tmp_path / "all")
    attribute(tmp_path / "some", reduce=TopK(2))
    whole, some = read_shards(tmp_path / "all"), read_shards(tmp_path / "some")
    np.testing.assert_array_equal(
        np.take_along_axis(whole["attribution"], some["place"].astype(np.int64), 1),
        some["attribution"],
    )
    images = torch.rand(4, 3, 5, 5)
    net = nn.Sequential(nn.Flatten(), nn.Linear(75, 2, bias=False))
    attribute_dataset(
        XIntegratedGradients(net), [(images, torch.zeros(4))], tmp_path / "maps",
        reduce=SumChannels(), progress=False,
    )  # fmt: skip
    assert read_shards(tmp_path / "maps")["attribution"].shape == (4, 5, 5)


def test_ids_of_ones_own(tmp_path: Path) -> None:
    names = [f"{i:03d}.png" for i in range(COUNT)]
    attribute(tmp_path, ids=names)
    assert read_shards(tmp_path, ["id"])["id"].tolist() == names
    assert attribute(tmp_path, ids=names).attributed == 0


def test_batches_of_another_form(tmp_path: Path) -> None:
    data = [{"pixels": Rows(6).rows, "labels": torch.zeros(6), "names": ["a"] * 6}]
    run = attribute_dataset(
        XIntegratedGradients(network()), data, tmp_path,
        unpack=lambda batch: (batch["pixels"], batch["labels"]), progress=False,
    )  # fmt: skip
    assert run.attributed == 6


def test_progress(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loader = DataLoader(Rows(COUNT), 8)
    attribute_dataset(XIntegratedGradients(network()), loader, tmp_path)
    shown = capsys.readouterr().err
    assert f"{COUNT}/{COUNT}" in shown
    assert "samples/s" in shown


def test_memory_is_that_of_a_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 0
    add = ParquetShards.add

    def watched(self: ParquetShards, *args: Any) -> None:
        nonlocal most
        add(self, *args)
        most = max(most, sum(map(len, self._records)))

    monkeypatch.setattr(ParquetShards, "add", watched)
    attribute(tmp_path, Rows(400), shard_size=32)
    assert most < 32
