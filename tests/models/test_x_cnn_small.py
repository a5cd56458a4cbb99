import copy
import hashlib
import os
import pickle
import random
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn
from train_x_cnn_small import accuracy, load_split

import captum_xdnn
from captum_xdnn.data import load_fashion_mnist_samples
from captum_xdnn.models import X_CNN_Small_Weights, XCNNSmall, pretrained, x_cnn_small

X_DNN = X_CNN_Small_Weights.FASHION_MNIST
TWIN = X_CNN_Small_Weights.FASHION_MNIST_BIAS
WEIGHTS_FOLDER = Path(captum_xdnn.__file__).parent / "models" / "weights"


def _trained(weights: X_CNN_Small_Weights) -> XCNNSmall:
    return x_cnn_small(weights=weights, bias=weights.meta["bias"]).eval()


def _num_params(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _largest_scaling_error(model: nn.Module, scales: tuple[float, ...]) -> float:
    """max |F(a x) - a F(x)| relative to max |a F(x)|, over the sample images and the scales."""
    x = load_fashion_mnist_samples()[0].double()
    model = model.double()
    with torch.no_grad():
        logits = model(x)
        errors = [
            (model(a * x) - a * logits).abs().max() / (a * logits).abs().max() for a in scales
        ]
    return max(error.item() for error in errors)


def test_about_a_hundred_thousand_parameters() -> None:
    assert _num_params(x_cnn_small()) == 95_984
    # One bias for each of 32 + 64 + 72 channels and 10 classes.
    assert _num_params(x_cnn_small(bias=True)) == 95_984 + 178


def test_logits_of_a_batch() -> None:
    assert x_cnn_small(num_classes=3)(torch.rand(5, 1, 28, 28)).shape == (5, 3)


@pytest.mark.parametrize("bias", [False, True])
def test_one_class_with_and_without_biases(bias: bool) -> None:
    model = x_cnn_small(bias=bias)
    assert type(model) is XCNNSmall
    assert any("bias" in name for name, _ in model.named_parameters()) is bias


def test_no_layer_but_convolution_relu_pooling_linear() -> None:
    layers = {type(layer) for layer in x_cnn_small().modules() if not list(layer.children())}
    assert layers == {nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Linear}


@pytest.mark.parametrize("weights", [X_DNN, TWIN])
def test_bundled_weights_load_and_classify_the_samples(weights: X_CNN_Small_Weights) -> None:
    images, labels, _ = load_fashion_mnist_samples()
    model = _trained(weights)
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert (model(images).argmax(1) == labels).sum() >= 9


@pytest.mark.parametrize("name", ["FASHION_MNIST", "DEFAULT", "X_CNN_Small_Weights.FASHION_MNIST"])
def test_weights_by_name(name: str) -> None:
    torch.testing.assert_close(x_cnn_small(weights=name).state_dict(), X_DNN.get_state_dict())


def test_builders_call_is_that_of_torchvision() -> None:
    assert x_cnn_small(weights=X_DNN, progress=False).training


@pytest.mark.parametrize("weights", [X_DNN, TWIN])
def test_facts_belong_to_the_bundled_file(weights: X_CNN_Small_Weights) -> None:
    facts = weights.meta["training"]
    state = WEIGHTS_FOLDER / f"{weights.value.name}.pt"
    assert facts["sha256"] == hashlib.sha256(state.read_bytes()).hexdigest()
    assert weights.meta["num_params"] == _num_params(_trained(weights))
    assert weights.meta["bias"] is (weights is TWIN)
    assert weights.meta["categories"] == list(load_fashion_mnist_samples()[2])
    assert weights.meta["min_size"] == (28, 28)
    assert "MIT" in weights.meta["license"]
    assert "train_x_cnn_small" in weights.meta["recipe"]
    assert ("--bias" in weights.meta["recipe"]) is weights.meta["bias"]


@pytest.mark.parametrize("flips", [60, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("weights", [X_DNN, TWIN])
def test_no_flipped_bit_reads_as_good(
    weights: X_CNN_Small_Weights, flips: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(WEIGHTS_FOLDER, tmp_path / "weights"))
    monkeypatch.setattr(pretrained, "_FOLDER", folder)
    path = folder / f"{weights.value.name}.pt"
    good = path.read_bytes()
    for bit in random.Random(0).sample(range(8 * len(good)), flips):
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(RuntimeError, match=rf"{path.name} is damaged: its SHA-256"):
            weights.get_state_dict(check_hash=False)
    path.write_bytes(good)
    assert weights.get_state_dict()


def test_measured_accuracy_of_both() -> None:
    x_dnn, twin = (weights.meta["_metrics"]["Fashion-MNIST"] for weights in (X_DNN, TWIN))
    assert x_dnn["acc@1"] >= 91
    assert twin["acc@1"] >= 91
    # Contrast: a degree-1 network scales all logits alike, a biased one changes its mind.
    assert x_dnn["acc@1, inputs x 0.1"] == pytest.approx(x_dnn["acc@1"], abs=0.02)
    assert twin["acc@1, inputs x 0.1"] < twin["acc@1"] - 10


def test_bundle_is_under_a_megabyte() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS_FOLDER.iterdir()) < 1_000_000


def test_x_dnn_is_nonnegatively_homogeneous() -> None:
    scales = (1e-6, 1e-3, 0.1, 0.5, 2.0, 1e4)
    assert _largest_scaling_error(_trained(X_DNN), scales) < 1e-13
    assert not _trained(X_DNN)(torch.zeros(1, 1, 28, 28)).any()


def test_twin_is_not() -> None:
    assert all(_largest_scaling_error(_trained(TWIN), (a,)) > 0.05 for a in (0.1, 0.5, 2.0))


def test_eulers_identity_of_the_x_dnn() -> None:
    images, labels, _ = load_fashion_mnist_samples()
    x = images.double().requires_grad_()
    output = _trained(X_DNN).double()(x).gather(1, labels[:, None])[:, 0]
    (gradient,) = torch.autograd.grad(output.sum(), x)
    torch.testing.assert_close((x * gradient).flatten(1).sum(1), output)


@pytest.mark.parametrize(("weights", "bias"), [(X_DNN, True), (TWIN, False), ("DEFAULT", True)])
def test_weights_of_the_other_network_are_refused(
    weights: X_CNN_Small_Weights | str, bias: bool
) -> None:
    with pytest.raises(ValueError, match=f"trained with bias={not bias}, and bias={bias} was"):
        x_cnn_small(weights=weights, bias=bias)


def test_the_refusal_says_what_to_pass() -> None:
    with pytest.raises(ValueError, match=r"Pass bias=False, num_classes=10, or .*MNIST_BIAS with"):
        x_cnn_small(weights=X_DNN, bias=True)


def test_every_difference_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"bias=True was asked for; .* num_classes=3 was asked for"
    ):
        x_cnn_small(weights=X_DNN, bias=True, num_classes=3)


def test_unknown_weights() -> None:
    with pytest.raises(KeyError, match="no weights 'IMAGENET'; it has FASHION_MNIST, FASHION"):
        x_cnn_small(weights="IMAGENET")
    with pytest.raises(TypeError, match="must be a X_CNN_Small_Weights, its name or None, not int"):
        x_cnn_small(weights=1)  # type: ignore[arg-type]


def test_weights_are_values() -> None:
    assert X_CNN_Small_Weights.DEFAULT is X_DNN
    assert copy.deepcopy(TWIN) is TWIN
    assert pickle.loads(pickle.dumps(TWIN)) is TWIN
    assert repr(TWIN) == "X_CNN_Small_Weights.FASHION_MNIST_BIAS"


@pytest.mark.slow
@pytest.mark.parametrize("weights", [X_DNN, TWIN])
def test_accuracy_measured_again(weights: X_CNN_Small_Weights) -> None:
    """Reads the data set at $CAPTUM_XDNN_FASHION_MNIST, the ROOT of the training script."""
    pytest.importorskip("torchvision")
    root = os.environ.get("CAPTUM_XDNN_FASHION_MNIST")
    if root is None:
        pytest.skip("CAPTUM_XDNN_FASHION_MNIST names no folder that holds FashionMNIST/raw")
    model, test = _trained(weights), load_split(Path(root), train=False)
    stated = weights.meta["_metrics"]["Fashion-MNIST"]
    # Two images of the 10,000: another CPU rounds otherwise.
    assert accuracy(model, test) == pytest.approx(stated["acc@1"], abs=0.02)
    contrast = accuracy(model, test, contrast=0.1)
    assert contrast == pytest.approx(stated["acc@1, inputs x 0.1"], abs=0.02)
