"""Captum's numbers beside ours, and how near they have to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients

WEIGHTS = 1e-7
"""Captum's step weights are float32 numbers, whatever the dtype of the inputs."""
EXACT = 1e-12


def gap(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, in parts of the largest number."""
    scale = float(theirs.detach().abs().max())
    return float((ours - theirs).detach().abs().max()) / (scale or 1.0)


def tolerance_of(route: str) -> float:
    return EXACT if route == "captum" else WEIGHTS


def compare(
    explainer: XIntegratedGradients, function: Callable[..., Any], x: Tensor, **call: Any
) -> Tensor:
    """One call of ours and one of Captum's on the same function as it is now."""
    call = {"target": 1, **call}
    ours = explainer.attribute(x, **call)
    theirs = IntegratedGradients(function).attribute(x, **call)
    found = gap(ours, theirs)
    assert found <= tolerance_of(explainer.last_route), (found, explainer.last_route)
    return ours


def inputs(rows: int = 3, width: int = 4, seed: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, width, generator=generator, dtype=torch.float64) + 0.1


def linear(outputs: int = 4, *, bias: bool = False, seed: int = 0, width: int = 4) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(width, outputs, bias=bias).double()


def network(*, bias: bool = False, seed: int = 0) -> nn.Sequential:
    """Two layers."""
    first, second = linear(8, bias=bias, seed=seed), linear(2, bias=bias, seed=seed + 1, width=8)
    return nn.Sequential(first, nn.ReLU(), second).eval()
