"""The priors straight from their definitions, entry by entry."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor


def slope(loss: Callable[[], Tensor], parameter: Tensor, direction: Tensor) -> float:
    """The derivative of a loss along a direction of a parameter, from two of its values."""
    step, ends = 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            parameter.add_(sign * step * direction)
        ends.append(float(loss().detach()))
        with torch.no_grad():
            parameter.sub_(sign * step * direction)
    return (ends[0] - ends[1]) / (2 * step)


def gini_sparsity(attributions: Tensor) -> float:
    rows = attributions.reshape(len(attributions), -1).abs().tolist()
    means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    count, total = len(means), sum(means)
    if total == 0:
        return 0.0
    gaps = sum(abs(a - b) for a, b in itertools.product(means, means))
    return -0.5 * (gaps / count**2) / (total / count)


def total_variation(attributions: Tensor) -> float:
    """Of maps (B, C, H, W)."""
    batch, channels, height, width = attributions.shape
    a, result = attributions.tolist(), 0.0
    for n, c in itertools.product(range(batch), range(channels)):
        down = [
            abs(a[n][c][i + 1][j] - a[n][c][i][j])
            for i, j in itertools.product(range(height - 1), range(width))
        ]
        right = [
            abs(a[n][c][i][j + 1] - a[n][c][i][j])
            for i, j in itertools.product(range(height), range(width - 1))
        ]
        result += sum(sum(gaps) / len(gaps) for gaps in (down, right) if gaps)
    return result / (batch * channels)


def right_for_the_right_reasons(attributions: Tensor, mask: Tensor) -> float:
    pairs = zip(
        attributions.flatten().tolist(),
        mask.expand_as(attributions).flatten().tolist(),
        strict=True,
    )
    return sum((a * m) ** 2 for a, m in pairs) / len(attributions)


def energy_guidance(attributions: Tensor, mask: Tensor) -> float:
    result = 0.0
    for row, kept in zip(attributions, mask.expand_as(attributions), strict=True):
        positive = [max(a, 0.0) for a in row.flatten().tolist()]
        inside = sum(p * m for p, m in zip(positive, kept.flatten().tolist(), strict=True))
        result += 1 - (inside / sum(positive) if sum(positive) else 0.0)
    return result / len(attributions)
