"""``tolerance=`` beside Captum's fixed steps: points, gaps, and how far the numbers are from 2,000 steps'."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from captum.attr import IntegratedGradients
from torch import Tensor, nn
from torch.nn import functional

from captum_xdnn import XIntegratedGradients
from captum_xdnn.data import load_fashion_mnist_samples
from captum_xdnn.models import x_cnn_small

from .report import Report

SECTION = "Points to a tolerance, beside Captum's steps at the same gap"
REFERENCE, FEW, MANY = 2000, 50, 300
NETWORKS = ("resnet18", "mobilenet_v2", "densenet121")
LEAST = 2.0
LOGITS = 10.0
"""How far the largest logit of a trained network is above the mean of the others."""


def twin() -> tuple[nn.Module, Tensor]:
    """The bundled network with biases, and its garments."""
    return x_cnn_small(
        weights="FASHION_MNIST_BIAS", bias=True
    ).eval(), load_fashion_mnist_samples()[0]


def like_trained(name: str) -> Callable[[], tuple[nn.Module, Tensor]]:
    """A torchvision network with the statistics of a trained one, and images of 96 by 96.

    Its batch norms have the means and variances of these images, and the last layer is as large as gives
    the logits of a network that is sure of its class.
    """

    def made() -> tuple[nn.Module, Tensor]:
        torch.manual_seed(0)
        garments = load_fashion_mnist_samples()[0]
        images = functional.interpolate(garments, size=96, mode="bilinear").repeat(1, 3, 1, 1)
        images = images + 0.1 * torch.randn_like(images)
        model = torchvision.models.get_model(name)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the mean over all passes
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        with torch.no_grad():
            for _ in range(2):
                model(images)
            logits = model.eval()(images)
            margin = (logits.amax(1) - logits.mean(1)).mean()
            last = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
            last.weight.mul_(LOGITS / margin)
            last.bias.mul_(LOGITS / margin)
        return model, images[:2]

    return made


NETS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "the bundled CNN with biases": twin,
    **{f"torchvision {name}": like_trained(name) for name in NETWORKS},
}


def gap_of(function: nn.Module, images: Tensor, target: Tensor, found: Tensor) -> float:
    """The median relative gap of completeness."""
    with torch.no_grad():
        ends = [function(x).gather(1, target[:, None])[:, 0] for x in (images, 0 * images)]
    change = (ends[0] - ends[1]).double()
    missed = (found.double().flatten(1).sum(1) - change).abs() / change.abs()
    return statistics.median(missed.tolist())


def error_of(found: Tensor, expected: Tensor) -> float:
    """The median relative L1 distance."""
    apart = (found - expected).abs().flatten(1).sum(1) / expected.abs().flatten(1).sum(1)
    return statistics.median(apart.tolist())


@pytest.mark.parametrize("last", ["logits", "softmax"])
@pytest.mark.parametrize("name", list(NETS))
def test_points_at_the_same_gap(name: str, last: str, report: Report, device: torch.device) -> None:
    model, images = NETS[name]()
    function = model if last == "logits" else nn.Sequential(model, nn.Softmax(1))
    function, images = function.to(device), images.to(device)
    with torch.no_grad():
        target = model(images).argmax(1)
    captum, arguments = IntegratedGradients(function), {"target": target}

    def theirs(steps: int) -> Tensor:
        found: Tensor = captum.attribute(
            images, **arguments, n_steps=steps, internal_batch_size=25 * len(images)
        )
        return found

    expected = theirs(REFERENCE)
    ours: Any = XIntegratedGradients(function)
    ratios = []
    for steps in (FEW, MANY):
        found = theirs(steps)
        gap = gap_of(function, images, target, found)
        mine = ours.attribute(images, **arguments, tolerance=gap, max_steps=REFERENCE, n_steps=25)
        taken = float(ours.last_steps.double().mean())
        ratios.append(steps / taken)
        figure = (
            f"{taken:.0f} points for Captum's {steps} ({ratios[-1]:.1f}x); gap {gap_of(function, images, target, mine):.1e} "
            f"and {gap:.1e}, error {error_of(mine, expected):.1e} and {error_of(found, expected):.1e}"
        )
        bound = f">= {LEAST:.0f}x" if last == "softmax" and steps == MANY else ""
        held = ratios[-1] >= LEAST
        report.add(SECTION, f"{name}, {last}, {steps} steps", figure, bound, held=held)
    if last == "softmax":
        assert ratios[-1] >= LEAST
