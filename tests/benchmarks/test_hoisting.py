"""Hoisting beside Captum's Integrated Gradients: speed and memory at 50 steps."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torchvision
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients

from .memory import peak_bytes
from .networks import x_alexnet, x_resnet50
from .report import Report
from .timing import interleaved

TARGET = 1
STEPS = 50
Case = tuple[Callable[[], nn.Module], tuple[int, ...], int]


def perceptron(*widths: int, bias: bool = True, last: nn.Module | None = None) -> nn.Module:
    """Linear layers with ReLUs between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after, bias=bias), nn.ReLU()]
    layers[-1:] = [] if last is None else [last]
    return nn.Sequential(*layers)


def under(build: Callable[[], nn.Module], head: nn.Module) -> Callable[[], nn.Module]:
    """A network with something on top."""
    return lambda: nn.Sequential(build(), head).eval()


def torchvisions(name: str) -> Callable[[], nn.Module]:
    """A torchvision model whose batch norms shift, as those of trained models do."""

    def build() -> nn.Module:
        model = torchvision.models.get_model(name).eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.bias, std=0.1)
                nn.init.normal_(module.running_mean, std=0.1)
        return model

    return build


HEADS: dict[str, Case] = {
    "softmax on an AlexNet-sized X-DNN, batch 2": (
        under(x_alexnet, nn.Softmax(-1)),
        (2, 3, 224, 224),
        3,
    ),
    "sigmoid on an AlexNet-sized X-DNN, batch 1": (
        under(x_alexnet, nn.Sigmoid()),
        (1, 3, 224, 224),
        3,
    ),
    "softmax on a ResNet-50-sized X-DNN, batch 1": (
        under(x_resnet50, nn.Softmax(-1)),
        (1, 3, 112, 112),
        3,
    ),
    "sigmoid on a bias-free MLP 118-512-128-10, batch 64": (
        lambda: perceptron(118, 512, 128, 10, bias=False, last=nn.Sigmoid()),
        (64, 118),
        15,
    ),
}
PERCEPTRONS: dict[str, Case] = {
    "MLP 1000-512-10, batch 64": (lambda: perceptron(1000, 512, 10), (64, 1000), 15),
    "MLP 30-512-512-10, batch 64": (lambda: perceptron(30, 512, 512, 10), (64, 30), 15),
    "MLP 784-256-128-10, batch 16": (lambda: perceptron(784, 256, 128, 10), (16, 784), 25),
    "MLP 20-64-64-1 with sigmoid, batch 8": (
        lambda: perceptron(20, 64, 64, 1, last=nn.Sigmoid()),
        (8, 20),
        51,
    ),
}
NETWORKS: dict[str, Case] = {
    f"torchvision {name}, batch 2 of 64 x 64": (torchvisions(name), (2, 3, 64, 64), 7)
    for name in ("alexnet", "vgg11_bn", "resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5")
}


def _measured(case: Case) -> tuple[float, str]:
    """How many times faster than Captum, and by which route."""
    torch.manual_seed(0)
    build, shape, rounds = case
    model, inputs = build(), torch.randn(shape)
    ours, captum = XIntegratedGradients(model), IntegratedGradients(model)
    timings = interleaved(
        {
            "ours": lambda: ours.attribute(inputs, target=_target(model, inputs)),
            "captum": lambda: captum.attribute(inputs, target=_target(model, inputs)),
        },
        rounds=rounds,
    )
    return timings.ratio("captum", "ours"), str(ours.last_route)


def _target(model: nn.Module, inputs: Tensor) -> int:
    del inputs
    return (
        0
        if isinstance(model[-1] if isinstance(model, nn.Sequential) else None, nn.Sigmoid)
        else TARGET
    )


@pytest.mark.parametrize("name", HEADS)
def test_a_head_on_a_network_without_biases(name: str, report: Report) -> None:
    ratio, route = _measured(HEADS[name])
    held = ratio >= 15 and route == "hoisted"
    report.add("Hoisting, over Captum at 50 steps", name, f"{ratio:.1f}x", ">= 15x", held=held)
    assert held


@pytest.mark.parametrize("name", PERCEPTRONS)
def test_perceptrons_with_biases(name: str, report: Report) -> None:
    ratio, route = _measured(PERCEPTRONS[name])
    held = ratio >= 2 and route == "hoisted"
    report.add("Hoisting, over Captum at 50 steps", name, f"{ratio:.1f}x", ">= 2x", held=held)
    assert held


@pytest.mark.parametrize("name", NETWORKS)
def test_ordinary_networks_are_never_slower(name: str, report: Report) -> None:
    ratio, route = _measured(NETWORKS[name])
    figure = f"{ratio:.3f}x ({route})"
    held = ratio >= 1 / 1.02
    report.add("Ordinary networks, over Captum at 50 steps", name, figure, ">= 0.98x", held=held)
    assert held


@pytest.mark.parametrize("name", [*HEADS, *PERCEPTRONS])
def test_peak_memory_is_not_above_captums(name: str, report: Report) -> None:
    torch.manual_seed(0)
    build, shape, _ = (HEADS | PERCEPTRONS)[name]
    model, inputs = build(), torch.randn(shape)
    ours, captum = XIntegratedGradients(model), IntegratedGradients(model)
    target = _target(model, inputs)
    mine = peak_bytes(lambda: ours.attribute(inputs, target=target))
    theirs = peak_bytes(lambda: captum.attribute(inputs, target=target))
    assert ours.last_route == "hoisted"
    ratio = mine / theirs
    figure = f"{ratio:.3f}x ({mine / 2**20:.1f} / {theirs / 2**20:.1f} MiB)"
    report.add("Peak memory over Captum's", name, figure, "<= 1.00x", held=ratio <= 1.0)
    assert ratio <= 1.0
