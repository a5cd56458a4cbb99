"""Converting and fine-tuning, run small on real images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from captum_xdnn import certify
from captum_xdnn.convert import to_xdnn

pytest.importorskip("torchvision")
Imported = Callable[[str], ModuleType]


def test_convert_and_fine_tune(
    root: Path, imported: Imported, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment, out = imported("convert_and_fine_tune"), root / "out"
    command = ["--data", str(root), "--out", str(out), "--seeds", "3", "4", "--epochs", "1"]
    assert experiment.main(command) == 0
    table = capsys.readouterr().out.split("| | right after")[1]
    files = sorted(out.iterdir())
    assert [path.name for path in files] == ["seed_3_epochs_1.json", "seed_4_epochs_1.json"]
    for path in files:
        result = json.loads(path.read_text(encoding="utf-8"))
        assert len(result["original"]) == len(experiment.CONTRASTS)
        for choice in experiment.CHOICES:
            found = result["converted"][choice]
            assert len(set(found["contrasts"])) == 1  # an X-DNN sees no contrast
            assert found["contrasts"][0] == found["3"]
    assert experiment.main(command) == 0
    again = capsys.readouterr().out
    assert again.split("| | right after")[1] == table
    assert "seed 3" not in again  # what was measured is not measured again


def test_the_network_of_that_experiment_is_an_ordinary_one(imported: Imported) -> None:
    network = imported("convert_and_fine_tune").ordinary_network().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.bias)
    x = torch.zeros(2, 1, 28, 28)
    assert not certify(network, x).homogeneous
    converted, report = to_xdnn(network, inputs=x)
    assert report.homogeneous
    assert converted[-1].bias is None
