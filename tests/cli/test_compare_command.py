"""``python -m captum_xdnn compare``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from captum_xdnn.cli import main
from captum_xdnn.data import load_fashion_mnist_samples

MODEL = "captum_xdnn.models:x_cnn_small"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    found, _, _ = load_fashion_mnist_samples()
    path = tmp_path / "images.npz"
    np.savez(path, found[:2].numpy())
    return path


def test_table_pictures_and_attributions(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "folder"
    command = ["compare", MODEL, "--kwarg", "weights=DEFAULT", "--inputs", str(images)]
    command += ["--target", "0,1", "--out", str(out), "--rounds", "1", "--perturbations", "0"]
    command += ["--method", "XIntegratedGradients", "--method", "IG(3)"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    table = (out / "comparison.md").read_text(encoding="utf-8")
    assert table in printed
    assert "| single_pass |" in table
    assert (out / "comparison.png").read_bytes()[:4] == b"\x89PNG"
    with np.load(out / "IG(3).npz") as arrays:
        assert arrays["input_0"].shape == (2, 1, 28, 28)


WRONG = {
    "no file": (["--inputs", "missing.npz"], "cannot read arrays from missing.npz"),
    "no model": (["--model", "captum_xdnn.models:x_cnn_large"], "has no x_cnn_large"),
    "method": (["--method", "LIME"], "cannot compare"),
    "target": (["--target", "one"], "expected integers"),
    "no such class": (["--target", "10"], "cannot compare"),
}


@pytest.mark.parametrize("name", WRONG)
def test_usage_errors_take_one_line(
    name: str,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given, said = WRONG[name]
    model = given.pop() if given[0] == "--model" else MODEL
    more = [] if given[0] == "--model" else given
    command = ["compare", model, "--inputs", str(images), "--out", "out", "--target", "0", *more]
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.strip().count("\n") == 0
