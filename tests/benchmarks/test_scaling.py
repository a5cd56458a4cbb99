"""How the gain over Captum changes with batch size, resolution, depth and number of steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients, certify
from captum_xdnn.compare.measuring import now
from captum_xdnn.figures import new_figure

from .report import Report
from .timing import interleaved

FEWEST, MOST, SECONDS = 3, 15, 5.0
"""Rounds of timing, and how long Captum's calls may take together."""
CHANNELS = 16


@dataclass(frozen=True)
class Setting:
    """What one point of a line is measured with; a line changes one of these."""

    batch: int = 4
    resolution: int = 64
    depth: int = 6
    steps: int = 50


AXES: dict[str, tuple[str, tuple[int, ...]]] = {
    "batch size": ("batch", (1, 4, 16, 32)),
    "resolution": ("resolution", (32, 64, 128, 192)),
    "depth": ("depth", (2, 4, 8, 16)),
    "steps": ("steps", (10, 50, 128, 300)),
}


def convolutions(setting: Setting, *, bias: bool, last: nn.Module | None = None) -> nn.Module:
    """A stem that halves the image, and so many convolutions."""
    layers: list[nn.Module] = [nn.Conv2d(3, CHANNELS, 3, stride=2, padding=1, bias=bias), nn.ReLU()]
    for _ in range(setting.depth - 1):
        layers += [nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=bias), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, 10, bias=bias)]
    return nn.Sequential(*layers, *([] if last is None else [last])).eval()


KINDS: dict[str, Callable[[Setting], nn.Module]] = {
    "X-DNN": lambda setting: convolutions(setting, bias=False),
    "X-DNN with softmax": lambda setting: convolutions(setting, bias=False, last=nn.Softmax(-1)),
    "with biases": lambda setting: convolutions(setting, bias=True),
}
ROUTES = {"X-DNN": ("single_pass",), "X-DNN with softmax": ("hoisted",)}


@dataclass(frozen=True)
class Point:
    """How many times faster than Captum, the certificate in Captum's calls, and the route."""

    speed_up: float
    certificate: float
    route: str


def measured(kind: str, setting: Setting, device: torch.device) -> Point:
    torch.manual_seed(0)
    model = KINDS[kind](setting).to(device)
    inputs = torch.randn(setting.batch, 3, setting.resolution, setting.resolution, device=device)
    ours, captum = XIntegratedGradients(model), IntegratedGradients(model)

    def run(method: IntegratedGradients) -> Tensor:
        found: Tensor = method.attribute(inputs, target=1, n_steps=setting.steps)
        return found

    start = now(device)
    run(captum)
    rounds = int(min(MOST, max(FEWEST, SECONDS / (now(device) - start))))
    functions = {"ours": lambda: run(ours), "captum": lambda: run(captum)}
    timings = interleaved(functions, rounds=rounds, device=device)
    functions = {"certificate": lambda: certify(KINDS[kind](setting).to(device), inputs)}
    certificate = interleaved(functions, rounds=FEWEST, device=device).median("certificate")
    route = str(ours.last_route)
    assert route in ROUTES.get(kind, ("captum", "hoisted"))
    speed_up = timings.ratio("captum", "ours")
    return Point(speed_up, certificate / timings.median("captum"), route)


@pytest.mark.parametrize("axis", AXES)
def test_scaling(axis: str, report: Report, device: torch.device) -> None:
    name, values = AXES[axis]
    figure = new_figure(6, 3.6)
    (axes,) = figure.subplots(1, 1, squeeze=False)[0]
    section = f"Scaling with {axis}, over Captum"
    failures = []
    for kind in KINDS:
        settings = [Setting(**{name: value}) for value in values]
        points = [measured(kind, setting, device) for setting in settings]
        axes.plot(values, [point.speed_up for point in points], "o-", label=kind)
        for value, point in zip(values, points, strict=True):
            # That Captum's own route takes Captum's time is measured among ordinary networks.
            bound = "" if point.route == "captum" else ">= 0.98x"
            held = not bound or point.speed_up >= 1 / 1.02
            subject = f"{kind}, {axis} {value}"
            text = (
                f"{point.speed_up:.3g}x ({point.route}; certificate {point.certificate:.2g} calls)"
            )
            report.add(section, subject, text, bound, held=held)
            failures += [] if held else [f"{subject}: {text}"]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(values, [str(value) for value in values])
    axes.minorticks_off()
    axes.set_xlabel(axis)
    axes.set_ylabel("times faster than Captum")
    axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    report.plots[section] = figure
    assert not failures
