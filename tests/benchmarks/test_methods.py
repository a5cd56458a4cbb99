"""Captum's methods beside the single pass: seconds, memory, and what they give."""

from __future__ import annotations

import pytest
import torch

from captum_xdnn.compare import Comparison, compare
from captum_xdnn.data import load_fashion_mnist_samples
from captum_xdnn.models import x_cnn_small

from .cases import Case, torchvisions
from .networks import x_alexnet
from .report import Report

METHODS = (
    "XIntegratedGradients",
    "Saliency",
    "InputXGradient",
    "DeepLift",
    "GradientShap",
    "IG(10)",
    "IG(50)",
    "IG(128)",
    "IG(300)",
)
CASES = {
    "AlexNet-sized X-DNN, batch 1": Case(x_alexnet, (1, 3, 224, 224), 3),
    "torchvision resnet18, batch 2 of 64 x 64": Case(torchvisions("resnet18"), (2, 3, 64, 64), 3),
}


def note(name: str, found: Comparison, report: Report) -> None:
    """A row for each method: time and memory over ours, and the difference to IG(300)."""
    ours = found["XIntegratedGradients"]
    section = f"Captum's methods over XIntegratedGradients: {name}"
    for row in found.rows:
        figure = row.failure or (
            f"{row.seconds / ours.seconds:.2f}x the time, {row.memory / ours.memory:.2f}x the memory, "
            f"completeness gap {row.gap:.1g}, difference to {found.reference} {row.difference:.1g}"
        )
        report.add(section, f"{row.method} {row.route}".strip(), figure, "", held=True)


@pytest.mark.parametrize("name", CASES)
def test_captums_methods(name: str, report: Report, device: torch.device) -> None:
    case = CASES[name]
    model, inputs = case.made(device)
    found = compare(
        model, inputs, case.target, methods=METHODS, rounds=case.rounds, perturbations=0
    )
    note(name, found, report)
    ours = found["XIntegratedGradients"]
    assert ours.difference <= found["IG(50)"].difference + 1e-5


def test_captums_methods_on_images(report: Report, device: torch.device) -> None:
    images, labels, _ = load_fashion_mnist_samples()
    model = x_cnn_small(weights="DEFAULT").eval().to(device)
    found = compare(
        model, images.to(device), labels.to(device), methods=METHODS, rounds=5, perturbations=0
    )
    note("x_cnn_small, the 10 bundled images", found, report)
    ours = found["XIntegratedGradients"]
    assert ours.route == "single_pass"
    assert ours.gap <= found["IG(300)"].gap
