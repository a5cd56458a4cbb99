"""Torchvision's classification models: certified without biases, refused with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from captum_xdnn import certify

torchvision = pytest.importorskip("torchvision")


@dataclass(frozen=True)
class Model:
    """A builder, the size of image it takes, and where it first bends a shift."""

    name: str
    size: int
    first: str


HOMOGENEOUS = [
    Model("alexnet", 64, "features.0 (Conv2d)"),
    Model("vgg11", 32, "features.0 (Conv2d)"),
    Model("vgg11_bn", 32, "features.0 (Conv2d)"),
    Model("vgg13", 32, "features.0 (Conv2d)"),
    Model("vgg13_bn", 32, "features.0 (Conv2d)"),
    Model("vgg16", 32, "features.0 (Conv2d)"),
    Model("vgg16_bn", 32, "features.0 (Conv2d)"),
    Model("vgg19", 32, "features.0 (Conv2d)"),
    Model("vgg19_bn", 32, "features.0 (Conv2d)"),
    Model("resnet18", 32, "bn1 (BatchNorm2d)"),
    Model("resnet34", 32, "bn1 (BatchNorm2d)"),
    Model("resnet50", 32, "bn1 (BatchNorm2d)"),
    Model("resnet101", 32, "bn1 (BatchNorm2d)"),
    Model("resnet152", 32, "bn1 (BatchNorm2d)"),
    Model("resnext50_32x4d", 32, "bn1 (BatchNorm2d)"),
    Model("resnext101_32x8d", 32, "bn1 (BatchNorm2d)"),
    Model("resnext101_64x4d", 32, "bn1 (BatchNorm2d)"),
    Model("wide_resnet50_2", 32, "bn1 (BatchNorm2d)"),
    Model("wide_resnet101_2", 32, "bn1 (BatchNorm2d)"),
    Model("densenet121", 32, "features.norm0 (BatchNorm2d)"),
    Model("densenet161", 32, "features.norm0 (BatchNorm2d)"),
    Model("densenet169", 32, "features.norm0 (BatchNorm2d)"),
    Model("densenet201", 32, "features.norm0 (BatchNorm2d)"),
    Model("googlenet", 64, "conv1.bn (BatchNorm2d)"),
    Model("inception_v3", 96, "Conv2d_1a_3x3.bn (BatchNorm2d)"),
    Model("squeezenet1_0", 64, "features.0 (Conv2d)"),
    Model("squeezenet1_1", 64, "features.0 (Conv2d)"),
    *(Model(f"mnasnet{n}", 64, "layers.1 (BatchNorm2d)") for n in ("0_5", "0_75", "1_0", "1_3")),
    *(
        Model(f"shufflenet_v2_{n}", 64, "conv1.1 (BatchNorm2d)")
        for n in ("x0_5", "x1_0", "x1_5", "x2_0")
    ),
    *(
        Model(f"regnet_x_{n}", 64, "stem.1 (BatchNorm2d)")
        for n in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf")
    ),
]
"""Everything but biases, batch norm's shifts and dropout is homogeneous in these."""

NOT_HOMOGENEOUS = {
    "mobilenet_v2": (64, "features.0.2 (ReLU6)", "the bound 6.0 is neither 0 nor absent"),
    "mobilenet_v3_small": (64, "features.0.2 (Hardswish)", "not positively homogeneous"),
    "efficientnet_b0": (64, "features.0.2 (SiLU)", "not positively homogeneous"),
    "regnet_y_400mf": (64, "trunk_output.block1.block1-0.f.se.scale_activation (Sigmoid)", "satur"),
    "convnext_tiny": (64, "features.0.1 (LayerNorm2d)", "normalisation by statistics"),
    "vit_b_32": (32, "encoder (Encoder)", "added"),
    "swin_t": (64, "features.0.2 (LayerNorm)", "normalisation by statistics"),
    "swin_v2_t": (64, "features.0.2 (LayerNorm)", "normalisation by statistics"),
    "maxvit_t": (224, "stem.0.2 (GELU)", "not positively homogeneous"),
}
"""Model: image size, first blocker without biases, and a part of its reason."""

LARGER = (
    "convnext_", "efficientnet_", "mobilenet_v3_large", "regnet_x_16gf", "regnet_x_32gf",
    "regnet_y_", "swin_", "vit_",
)  # fmt: skip
"""Larger models of a kind that is represented above."""

FAST = {"alexnet", "vgg11_bn", "resnet18", "squeezenet1_1", "mnasnet0_5", "googlenet"}
FAST_REFUSED = {"mobilenet_v2", "efficientnet_b0"}


def _marked(names: Any, fast: set[str]) -> list[Any]:
    slow = pytest.mark.slow
    return [
        pytest.param(n, id=str(key), marks=() if key in fast else slow)
        for n in names
        for key in [n.name if isinstance(n, Model) else n]
    ]


def _build(name: str, size: int) -> nn.Module:
    torch.manual_seed(0)
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        options = {"init_weights": False, "aux_logits": False}
    if name.startswith("vit"):
        options = {"image_size": size}
    model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    return model.eval()


def _without_biases(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_parameter("bias", None)
    return model


def _with_everything(model: nn.Module) -> nn.Module:
    """Biases and running statistics as a trained model has them."""
    for module in model.modules():
        for name in ("bias", "running_mean"):
            held = getattr(module, name, None)
            if isinstance(held, torch.Tensor):
                nn.init.normal_(held)
    return model


@pytest.mark.parametrize("model", _marked(HOMOGENEOUS, FAST))
def test_certified_without_biases_and_refused_with_them(model: Model) -> None:
    inputs = torch.zeros(2, 3, model.size, model.size)
    certificate = certify(_without_biases(_build(model.name, model.size)), inputs)
    assert certificate.homogeneous, str(certificate)
    assert certificate.degree == 1
    refused = certify(_with_everything(_build(model.name, model.size)), inputs)
    assert not refused.homogeneous
    assert refused.blockers[0].where == model.first
    assert f"first: {model.first}" in str(refused)


def test_every_classification_model_is_here_or_a_larger_one_of_its_kind() -> None:
    here = {m.name for m in HOMOGENEOUS} | NOT_HOMOGENEOUS.keys()
    everything = torchvision.models.list_models(module=torchvision.models)
    assert [n for n in everything if n not in here and not n.startswith(LARGER)] == []


@pytest.mark.parametrize("model", _marked(HOMOGENEOUS, {"alexnet", "resnet18"}))
def test_certified_networks_are_homogeneous_in_numbers(model: Model) -> None:
    network = _without_biases(_build(model.name, model.size)).double()
    image = torch.randn(1, 3, model.size, model.size, dtype=torch.float64)
    with torch.no_grad():
        whole, part = network(image), network(0.3 * image)
    assert whole.any()
    torch.testing.assert_close(part, 0.3 * whole, rtol=1e-9, atol=1e-12 * float(whole.abs().max()))


@pytest.mark.parametrize("name", _marked(NOT_HOMOGENEOUS, FAST_REFUSED))
def test_other_activations_and_norms_are_refused(name: str) -> None:
    size, where, reason = NOT_HOMOGENEOUS[name]
    model = _without_biases(_build(name, size))
    certificate = certify(model, torch.zeros(2, 3, size, size))
    assert not certificate.homogeneous
    assert certificate.blockers[0].where == where
    assert reason in certificate.blockers[0].reason


def test_every_batch_norm_of_a_resnet_is_named_in_one_group() -> None:
    model = _build("resnet50", 32)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
    certificate = certify(model, torch.zeros(2, 3, 32, 32))
    assert len(certificate.blockers) == 53
    assert "53 x BatchNorm2d: shift of 64 channels is not zero at the baseline" in str(certificate)
