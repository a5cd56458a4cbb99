from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from captum_xdnn import certify
from captum_xdnn.models import XVGG, X_VGG16_Weights, x_vgg11, x_vgg13, x_vgg16, x_vgg19

BUILDERS = {"vgg11": x_vgg11, "vgg13": x_vgg13, "vgg16": x_vgg16, "vgg19": x_vgg19}
KEYS = [f"features.{i}.weight" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)]
KEYS += [f"classifier.{i}.weight" for i in (0, 3, 6)]


def _on_meta(builder: Callable[..., nn.Module], **options: Any) -> nn.Module:
    with torch.device("meta"):
        return builder(**options)


def _num_params(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.fixture(scope="module")
def vgg11() -> XVGG:
    torch.manual_seed(0)
    return x_vgg11(num_classes=10).eval()


def test_the_keys_and_parameters_of_the_paper() -> None:
    model = _on_meta(x_vgg16)
    assert list(model.state_dict()) == KEYS
    assert _num_params(model) == 138_344_128


@pytest.mark.parametrize("weights", list(X_VGG16_Weights))
def test_the_weights_state_the_number_of_parameters(weights: X_VGG16_Weights) -> None:
    model = _on_meta(x_vgg16, bias=weights.meta["bias"])
    assert _num_params(model) == weights.meta["num_params"]


@pytest.mark.parametrize("name", BUILDERS)
def test_with_biases_it_has_torchvisions_layers_and_state_dict(name: str) -> None:
    torchvision = pytest.importorskip("torchvision")
    ours = _on_meta(BUILDERS[name], bias=True, dropout=0.25)
    theirs = _on_meta(getattr(torchvision.models, name), dropout=0.25)
    assert str(ours) == str(theirs).replace("VGG(", "XVGG(").replace("inplace=True", "")
    theirs.load_state_dict(ours.state_dict(), assign=True)
    assert _num_params(ours) == _num_params(theirs)


@pytest.mark.parametrize("name", BUILDERS)
def test_without_biases_only_the_biases_are_gone(name: str) -> None:
    ordinary = _on_meta(BUILDERS[name], bias=True).state_dict()
    shapes = {key: value.shape for key, value in _on_meta(BUILDERS[name]).state_dict().items()}
    assert shapes == {k: value.shape for k, value in ordinary.items() if not k.endswith("bias")}


@pytest.mark.parametrize("bias", [False, True])
def test_with_torchvisions_features_it_computes_the_same(bias: bool) -> None:
    torchvision = pytest.importorskip("torchvision")
    theirs = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["A"])
    ours = _on_meta(x_vgg11, bias=bias).features
    for name, value in theirs.named_parameters():
        if name.endswith("bias"):
            nn.init.constant_(value, 0.1 * bias)
    ours.load_state_dict(
        {k: v for k, v in theirs.state_dict().items() if bias or not k.endswith("bias")},
        assign=True,
    )
    x = torch.rand(2, 3, 32, 48)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", BUILDERS)
def test_shape_of_the_logits(name: str) -> None:
    model = _on_meta(BUILDERS[name], num_classes=7)
    assert model(torch.empty(2, 3, 64, 96, device="meta")).shape == (2, 7)


def test_initialisation(vgg11: XVGG) -> None:
    for layer in vgg11.modules():
        if isinstance(layer, nn.Conv2d):
            expected = (2 / (9 * layer.out_channels)) ** 0.5
            assert layer.weight.std().item() == pytest.approx(expected, rel=0.05)
        elif isinstance(layer, nn.Linear):
            assert layer.weight[:10].std().item() == pytest.approx(0.01, rel=0.05)


def test_nonnegatively_homogeneous(vgg11: XVGG) -> None:
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        logits = vgg11(x)
        assert logits.any()
        # Scaling by a power of two does not round, so any difference is one of the network.
        for a in (0.0, 2.0**-10, 0.5, 8.0):
            torch.testing.assert_close(vgg11(a * x), a * logits, rtol=0, atol=0)


def test_certified(vgg11: XVGG) -> None:
    certificate = certify(vgg11, torch.zeros(1, 3, 32, 32))
    assert certificate.homogeneous
    assert certificate.degree == 1


def test_biases_are_refused_once_they_are_not_zero() -> None:
    features = _on_meta(x_vgg11, bias=True).features.to_empty(device="cpu").eval()
    for parameter in features.parameters():
        nn.init.zeros_(parameter)
    assert certify(features, torch.zeros(1, 3, 32, 32)).homogeneous
    nn.init.constant_(features[3].bias, 0.1)
    refused = certify(features, torch.zeros(1, 3, 32, 32))
    assert not refused.homogeneous
    assert [blocker.module for blocker in refused.blockers] == ["3"]


def test_five_stages() -> None:
    with pytest.raises(ValueError, match=r"each of 5 stages, got \(1, 2\)"):
        XVGG((1, 2))
