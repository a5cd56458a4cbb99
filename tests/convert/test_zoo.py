"""Torchvision's classification models: what is left in the way after ``to_xdnn``.

Every convolutional network without squeeze-excitation gates or layer norm certifies; each of the
others names what remains; all certify inside ``Homogenized``.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from captum_xdnn import HomogeneityWarning, certify
from captum_xdnn.convert import to_xdnn
from captum_xdnn.nn import Homogenized

torchvision = pytest.importorskip("torchvision")

CERTIFIED = [
    "alexnet",
    *(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
    *("wide_resnet50_2", "wide_resnet101_2"),
    *(f"densenet{depth}" for depth in (121, 161, 169, 201)),
    *("googlenet", "inception_v3", "squeezenet1_0", "squeezenet1_1", "mobilenet_v2"),
    *(f"mnasnet{width}" for width in ("0_5", "0_75", "1_0", "1_3")),
    *(f"shufflenet_v2_{width}" for width in ("x0_5", "x1_0", "x1_5", "x2_0")),
    *(f"regnet_x_{size}" for size in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf")),
]
"""Convolutions, batch norm, pooling and activations that have a place taken."""

REMAINING: dict[str, set[str]] = {
    **{f"efficientnet_b{size}": {"Sigmoid"} for size in range(8)},
    **{f"efficientnet_v2_{size}": {"Sigmoid"} for size in "sml"},
    **{
        f"regnet_y_{size}": {"Sigmoid"}
        for size in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf", "128gf")
    },
    **{f"mobilenet_v3_{size}": {"Hardsigmoid"} for size in ("small", "large")},
    **{
        f"convnext_{size}": {"LayerNorm", "LayerNorm2d"}
        for size in ("tiny", "small", "base", "large")
    },
    "maxvit_t": {"LayerNorm", "RelativePositionalMultiHeadAttention", "Sigmoid", "Tanh"},
    **{f"swin_{size}": {"LayerNorm", "ShiftedWindowAttention"} for size in "tsb"},
    **{f"swin_v2_{size}": {"LayerNorm", "ShiftedWindowAttentionV2"} for size in "tsb"},
    **{
        # Position embeddings that are added, layer norm, softmax.
        f"vit_{size}": {"Encoder", "LayerNorm", "MultiheadAttention"}
        for size in ("b_16", "b_32", "l_16", "l_32", "h_14")
    },
}
"""The kinds of modules in whose way a certificate is, for the other models."""

BY_DEFAULT = {
    "alexnet", "squeezenet1_1", "mobilenet_v2", "shufflenet_v2_x0_5", "resnet18",
    "googlenet", "mnasnet0_5", "regnet_x_400mf",
}  # fmt: skip
"""Small enough for every run; of the small ones, densenet121 takes the time of three."""


def _marked(names: Any, default: set[str]) -> list[Any]:
    return [pytest.param(n, marks=() if n in default else pytest.mark.slow) for n in names]


def _size(name: str) -> int:
    if name.startswith(("vit", "swin", "maxvit")):
        return 224
    return 299 if name == "inception_v3" else 96


def _trained(name: str) -> nn.Module:
    """The model with batch norms that shift, as those of a trained one do."""
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        options = {"init_weights": False, "aux_logits": False}
    model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
    return model.eval()


def _images(name: str) -> torch.Tensor:
    return torch.zeros(1, 3, _size(name), _size(name))


@pytest.mark.parametrize("name", _marked(CERTIFIED, BY_DEFAULT))
def test_certified(name: str) -> None:
    converted, report = to_xdnn(_trained(name), inputs=_images(name), inplace=True)
    assert report.homogeneous
    assert report.certificate is not None
    assert report.certificate.degree == 1
    assert report.kept == ()
    x = torch.randn(1, *_images(name).shape[1:])
    with torch.no_grad():
        whole = converted(x)
        torch.testing.assert_close(converted(0.25 * x), 0.25 * whole, rtol=1e-4, atol=1e-20)
    assert whole.isfinite().all()


@pytest.mark.parametrize("name", _marked(REMAINING, set()))
def test_what_remains_is_named(name: str) -> None:
    with pytest.warns(HomogeneityWarning, match="not homogeneous"):
        _, report = to_xdnn(_trained(name), inputs=_images(name), inplace=True)
    assert report.certificate is not None
    assert {b.module_type for b in report.certificate.blockers} == REMAINING[name]


@pytest.mark.parametrize("name", _marked([*CERTIFIED, *REMAINING], {"alexnet", "squeezenet1_1"}))
def test_certified_inside_homogenized_as_it_is(name: str) -> None:
    certificate = certify(Homogenized(_trained(name)), _images(name))
    assert certificate.degree == 1
    assert not certificate.affine


def test_every_classification_model_is_here_once() -> None:
    names = torchvision.models.list_models(module=torchvision.models)
    theirs = [name for name in names if not name.startswith("x_")]
    assert sorted([*CERTIFIED, *REMAINING]) == sorted(theirs)
    assert not BY_DEFAULT - {*CERTIFIED}
