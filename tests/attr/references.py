"""Integrated Gradients as an explicit float64 sum, from the paper's definition and nothing else.

    IG_i(x) = (x_i - b_i) * integral_0^1 dF/dz_i (b + a (x - b)) da

(Sundararajan, Taly, Yan 2017, equation 1). Nothing of Captum or of captum_xdnn is used here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def path_integral(
    function: Callable[..., Tensor],
    inputs: tuple[Tensor, ...],
    baselines: tuple[Any, ...],
    target: Any = None,
    arguments: tuple[Any, ...] = (),
    *,
    steps: int = 64,
    stretch: int = 1,
    multiply_by_inputs: bool = True,
) -> tuple[Tensor, ...]:
    """The integral by the midpoint rule in ``u``, where ``a = u ** stretch``.

    The midpoint rule is exact where the gradient is constant or linear in ``u``; ``stretch``
    makes it so for degrees below 1, whose gradient is singular at the baseline.
    """
    inputs = tuple(x.detach().double() for x in inputs)
    starts = tuple(torch.zeros_like(x) + b for x, b in zip(inputs, baselines, strict=True))
    totals = [torch.zeros_like(x) for x in inputs]
    for step in range(steps):
        u = (step + 0.5) / steps
        a, weight = u**stretch, stretch * u ** (stretch - 1) / steps
        points = [
            (b + a * (x - b)).detach().requires_grad_() for x, b in zip(inputs, starts, strict=True)
        ]
        with torch.enable_grad():
            explained = chosen(function(*points, *arguments), target)
            gradients = torch.autograd.grad(explained.sum(), points)
        for total, gradient in zip(totals, gradients, strict=True):
            total += weight * gradient
    if not multiply_by_inputs:
        return tuple(totals)
    return tuple(t * (x - b) for t, x, b in zip(totals, inputs, starts, strict=True))


def chosen(output: Tensor, target: Any) -> Tensor:
    """The explained entry of each example, read off one example at a time."""
    rows = []
    for example in range(output.shape[0]):
        index = target
        if isinstance(target, list) or (isinstance(target, Tensor) and target.numel() > 1):
            index = target[example]
        if isinstance(index, Tensor):
            index = int(index)
        index = () if index is None else index if isinstance(index, tuple) else (index,)
        rows.append(output[(example, *index)].reshape(()))
    return torch.stack(rows)
