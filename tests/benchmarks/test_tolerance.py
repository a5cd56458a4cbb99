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
NETWORKS = ("resnet18", "vgg11_bn", "densenet121")
LEAST = 2.0
LOGIT, COPIES, RIDGE = 10.0, 6, 1e-4


def twin() -> tuple[nn.Module, Tensor]:
    """The bundled network with biases, and its garments."""
    return x_cnn_small(
        weights="FASHION_MNIST_BIAS", bias=True
    ).eval(), load_fashion_mnist_samples()[0]


def like_trained(name: str) -> Callable[[], tuple[nn.Module, Tensor]]:
    """A torchvision network that tells the garments apart, as a trained one does, and two of them at 64 by 64.

    Its batch norms have the means and variances of the images, and its last layer is fitted (ridge regression) to
    logits of 10 for the class and 0 elsewhere, in any light, and all 0 for a black image; the layers before are as torchvision draws them.
    """

    def made() -> tuple[nn.Module, Tensor]:
        torch.manual_seed(0)
        garments, labels, names = load_fashion_mnist_samples()
        images = functional.interpolate(garments, size=64, mode="bilinear").repeat(1, 3, 1, 1)
        lights = torch.linspace(0.5, 1.0, COPIES).tolist()
        many = torch.cat([a * images + 0.02 * torch.randn_like(images) for a in lights])
        many = torch.cat([many, torch.zeros(COPIES, 3, 64, 64)])
        model = torchvision.models.get_model(name, num_classes=len(names))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the mean over all passes
        path, last = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)][-1]
        model.set_submodule(path, nn.Identity())
        with torch.no_grad():
            for _ in range(2):
                model(many)
            features = nn.functional.pad(model.eval()(many), (0, 1), value=1.0).double()
            wanted = LOGIT * functional.one_hot(labels.repeat(COPIES), len(names)).double()
            wanted = nn.functional.pad(wanted, (0, 0, 0, COPIES))
            gram = features @ features.T + RIDGE * features.square().sum(1).mean() * torch.eye(
                len(many)
            )
            fitted = (features.T @ torch.linalg.solve(gram, wanted)).T.float()
            last.weight.copy_(fitted[:, :-1])
            last.bias.copy_(fitted[:, -1])
        model.set_submodule(path, last)
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
