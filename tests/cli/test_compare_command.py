"""``python -m captum_xdnn compare``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from captum.attr import IntegratedGradients

from captum_xdnn.cli import main
from captum_xdnn.data import load_fashion_mnist_samples
from captum_xdnn.models import x_cnn_small

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


def test_inputs_are_taken_to_the_weights_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "half_precision.py").write_text(
        "import torch\nnet = torch.nn.Sequential(torch.nn.Linear(6, 3, bias=False), torch.nn.ReLU())\n"
        "net = net.bfloat16()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    np.savez(tmp_path / "rows.npz", np.random.default_rng(0).random((4, 6)))
    command = ["compare", "half_precision:net", "--inputs", str(tmp_path / "rows.npz")]
    command += ["--target", "0,1,2,0", "--out", str(tmp_path), "--rounds", "1"]
    assert main([*command, "--method", "InputXGradient", "--method", "Saliency"]) == 0
    table = capsys.readouterr().out
    assert "Not all of it measured" not in table
    assert "No attributions" not in table
    with np.load(tmp_path / "InputXGradient.npz") as arrays:
        assert arrays["input_0"].dtype == np.float32


def test_a_layer_and_a_method_with_arguments(images: Path, tmp_path: Path) -> None:
    command = ["compare", MODEL, "--kwarg", "weights=DEFAULT", "--inputs", str(images)]
    command += ["--target", "3", "--rounds", "1", "--perturbations", "0"]
    layer = ["--layer", "features.6", "--method", "LayerGradCam", "--method", "XLayerConductance"]
    assert main([*command, *layer, "--out", str(tmp_path / "layer")]) == 0
    with np.load(tmp_path / "layer" / "XLayerConductance.npz") as arrays:
        assert arrays["input_0"].shape == (2, 72, 7, 7)
    name = "Occlusion(sliding_window_shapes=(1, 14, 14), strides=14)"
    assert main([*command, "--method", name, "--out", str(tmp_path)]) == 0
    with np.load(tmp_path / f"{name}.npz") as arrays:
        assert len(np.unique(arrays["input_0"][0])) <= 4


@pytest.mark.parametrize("form", ["number", "one for all", "one for each"])
def test_baselines(form: str, images: Path, tmp_path: Path) -> None:
    given = tmp_path / "starts.npz"
    np.savez(given, np.full((2 if form == "one for each" else 1, 1, 28, 28), 0.25))
    command = ["compare", MODEL, "--kwarg", "weights=DEFAULT", "--inputs", str(images)]
    command += ["--baselines", "0.25" if form == "number" else str(given), "--target", "3"]
    command += ["--out", str(tmp_path), "--rounds", "1", "--perturbations", "0"]
    assert main([*command, "--method", "IG(3)"]) == 0
    data, _, _ = load_fashion_mnist_samples()
    method = IntegratedGradients(x_cnn_small(weights="DEFAULT").eval())
    expected = method.attribute(data[:2], 0.25, 3, n_steps=3)
    with np.load(tmp_path / "IG(3).npz") as arrays:
        np.testing.assert_allclose(arrays["input_0"], expected.numpy(), rtol=1e-5, atol=1e-6)


WRONG = {
    "no file": (["--inputs", "missing.npz"], "cannot read arrays from missing.npz"),
    "no model": (["--model", "captum_xdnn.models:x_cnn_large"], "has no x_cnn_large"),
    "method": (["--method", "LIME"], "cannot compare"),
    "no layer": (["--layer", "features.99"], "has no layer features.99"),
    "method of a layer": (["--method", "LayerGradCam"], "needs more than a model: a layer"),
    "target": (["--target", "one"], "expected integers"),
    "no such class": (["--target", "10"], "given float32 (2, 1, 28, 28): IndexError"),
    "no file of baselines": (["--baselines", "missing.npz"], "cannot read arrays from missing.npz"),
    "shape of baselines": (["--baselines", "wide.npz"], "cannot compare on"),
    "no npz": (["--inputs", "images.npy"], "images.npy is not an .npz file"),
    "no arrays": (["--inputs", "none.npz"], "none.npz holds no arrays"),
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
    np.save("images.npy", np.ones((2, 1, 28, 28)))
    np.savez("none.npz")
    np.savez("wide.npz", np.zeros((1, 1, 3, 3)))
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
