"""Hoisting beside Captum's Integrated Gradients: speed and memory at 50 steps."""

from __future__ import annotations

import pytest
import torch
from captum.attr import IntegratedGradients

from captum_xdnn import XIntegratedGradients

from .cases import HEADS, NETWORKS, PERCEPTRONS, Case
from .memory import peak_bytes
from .report import Report
from .timing import interleaved


def _measured(case: Case, device: torch.device) -> tuple[float, float, str]:
    """How many times faster than Captum, what the certificate predicts, and the route."""
    model, inputs = case.made(device)
    ours, captum = XIntegratedGradients(model), IntegratedGradients(model)
    timings = interleaved(
        {
            "ours": lambda: ours.attribute(inputs, target=case.target),
            "captum": lambda: captum.attribute(inputs, target=case.target),
        },
        rounds=case.rounds,
        device=device,
    )
    predicted = 1.0 if ours.certificate is None else ours.certificate.speed_up
    return timings.ratio("captum", "ours"), predicted, str(ours.last_route)


@pytest.mark.parametrize("name", HEADS)
def test_a_head_on_a_network_without_biases(
    name: str, report: Report, device: torch.device
) -> None:
    ratio, predicted, route = _measured(HEADS[name], device)
    held = ratio >= 15 and route == "hoisted"
    figure = f"{ratio:.1f}x (predicted {predicted:.0f}x)"
    report.add("Hoisting, over Captum at 50 steps", name, figure, ">= 15x", held=held)
    assert held


@pytest.mark.parametrize("name", PERCEPTRONS)
def test_perceptrons_with_biases(name: str, report: Report, device: torch.device) -> None:
    ratio, predicted, route = _measured(PERCEPTRONS[name], device)
    held = ratio >= 2  # hoisted, or where that is faster by all gradients at once
    promised = f"predicted {predicted:.1f}x" if route == "hoisted" else route
    figure = f"{ratio:.1f}x ({promised})"
    report.add("Hoisting, over Captum at 50 steps", name, figure, ">= 2x", held=held)
    assert held


@pytest.mark.parametrize("name", NETWORKS)
def test_ordinary_networks_are_never_slower(
    name: str, report: Report, device: torch.device
) -> None:
    ratio, _, route = _measured(NETWORKS[name], device)
    figure = f"{ratio:.3f}x ({route})"
    held = ratio >= 1 / 1.02
    report.add("Ordinary networks, over Captum at 50 steps", name, figure, ">= 0.98x", held=held)
    assert held


@pytest.mark.parametrize("name", [*HEADS, *PERCEPTRONS])
def test_peak_memory_is_not_above_captums(name: str, report: Report, device: torch.device) -> None:
    case = (HEADS | PERCEPTRONS)[name]
    model, inputs = case.made(device)
    ours, captum = XIntegratedGradients(model), IntegratedGradients(model)
    mine = peak_bytes(lambda: ours.attribute(inputs, target=case.target), device)
    theirs = peak_bytes(lambda: captum.attribute(inputs, target=case.target), device)
    assert ours.last_route == "hoisted" or name in PERCEPTRONS
    ratio = mine / theirs
    figure = f"{ratio:.3f}x ({mine / 2**20:.1f} / {theirs / 2**20:.1f} MiB)"
    report.add("Peak memory over Captum's", name, figure, "<= 1.00x", held=ratio <= 1.0)
    assert ratio <= 1.0
