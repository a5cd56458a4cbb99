"""The experiment on a misleading patch, run small on real images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

pytest.importorskip("torchvision")
Imported = Callable[[str], ModuleType]


def test_a_small_run_is_resumed(
    root: Path,
    imported: Imported,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    experiment, out = imported("spurious_patch"), root / "out"
    monkeypatch.setattr(experiment, "BATCH", 4)
    monkeypatch.setattr(experiment, "WEIGHTS", (1.0, 10.0))
    command = ["--data", str(root), "--out", str(out), "--seeds", "0", "1", "--steps", "6"]
    command += ["--held-out", "2"]
    assert experiment.main(command) == 0
    table = capsys.readouterr().out.split("| | weight")[1]
    notes = json.loads((out / "steps_6.json").read_text(encoding="utf-8"))
    taken = notes["seconds a step"]
    assert taken["none"] < taken["x_gradient"]
    for method in experiment.METHODS:
        for seed in (0, 1):
            (found,) = (n for key, n in notes.items() if _is_of(key, method, seed))
            assert 0 <= found["without"] <= 100
            assert 0 <= found["mass"] <= 100
    assert experiment.main(command) == 0
    again = capsys.readouterr().out
    assert again.split("| | weight")[1] == table
    assert "seed 0" not in again


def _is_of(key: str, method: str, seed: int) -> bool:
    return key.startswith(f"{method}, ") and key.endswith(f", seed {seed}")


def test_the_patch_of_each_class_has_its_own_place(imported: Imported) -> None:
    experiment = imported("spurious_patch")
    masks = experiment.patches()
    assert masks.shape == (10, 1, 28, 28)
    assert (masks.sum((1, 2, 3)) == 9).all()
    assert masks.sum(0).max() == 1
    marked = experiment.marked(torch.zeros(3, 1, 28, 28), torch.tensor([2, 0, 2]))
    assert marked.equal(masks[[2, 0, 2]])


def test_the_attribution_on_the_patch(imported: Imported) -> None:
    experiment = imported("spurious_patch")
    places = experiment.patches()

    class Looks(torch.nn.Module):
        """Scores that come from the patches, or from them and from all pixels."""

        def __init__(self, *, everywhere: bool) -> None:
            super().__init__()
            self.everywhere = everywhere

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            on = (x[:, None] * places).sum((2, 3, 4))
            return on + x.sum((1, 2, 3))[:, None] if self.everywhere else on

    classes = torch.tensor([1, 5, 7])
    images = experiment.marked(torch.zeros(3, 1, 28, 28), classes)
    images[:, :, 10, 5:14] = 1  # nine more bright pixels
    only = experiment.on_the_patch(Looks(everywhere=False), images, classes)
    assert only == pytest.approx(100)
    both = experiment.on_the_patch(Looks(everywhere=True), images, classes)
    assert both == pytest.approx(100 * 18 / 27)
