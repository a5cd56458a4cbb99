"""The metrics straight from their definitions, one number at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor


def gaussian(image: Tensor, kernel: int, sigma: float) -> Tensor:
    """One channel (H, W), borders reflected without repeating the edge."""
    reach = kernel // 2
    weights = np.array([math.exp(-0.5 * (i / sigma) ** 2) for i in range(-reach, reach + 1)])
    weights /= weights.sum()
    padded = np.pad(image.numpy(), reach, mode="reflect")
    height, width = image.shape
    rows = np.zeros((height, width + 2 * reach))
    for i in range(height):
        rows[i] = sum(w * padded[i + j] for j, w in enumerate(weights))
    blurred = np.zeros((height, width))
    for i in range(width):
        blurred[:, i] = sum(w * rows[:, i + j] for j, w in enumerate(weights))
    return torch.from_numpy(blurred)


def masked(
    image: Tensor, blurred: Tensor, attribution: Tensor, metric: str, fraction: float
) -> Tensor:
    """What of one image (C, H, W) is left sharp."""
    scores = attribution.mean(0).flatten().tolist()
    scores = [{"P": s, "N": -s, "A": abs(s)}[metric[1]] for s in scores]
    positive = [i for i, s in enumerate(scores) if s > 0]
    positive.sort(key=lambda i: scores[i], reverse=metric[0] == "K")
    count = min(math.floor(fraction * len(scores) + 1e-9), len(positive))
    result = blurred.clone().flatten(1)
    for i in positive[:count]:
        result[:, i] = image.flatten(1)[:, i]
    return result.reshape(image.shape)


def masking_curve(
    function: Callable[[Tensor], Tensor],
    images: Tensor,
    attributions: Tensor,
    target: Tensor,
    metric: str,
    fractions: tuple[float, ...],
    sigma: float,
) -> list[list[float]]:
    """For each image the values at each fraction."""
    found = []
    for image, attribution, label in zip(images, attributions, target.tolist(), strict=True):
        blurred = torch.stack([gaussian(channel, 51, sigma) for channel in image])
        row = []
        for fraction in fractions:
            scores = function(masked(image, blurred, attribution, metric, fraction)[None])[
                0
            ].detach()
            hit = int(scores.argmax()) == label
            row.append(float(hit) if metric.endswith("AM") else float(scores[label]))
        found.append(row)
    return found


def trapezoid(fractions: tuple[float, ...], values: list[float]) -> float:
    return sum(
        (fractions[i + 1] - fractions[i]) * (values[i] + values[i + 1]) / 2
        for i in range(len(values) - 1)
    )


def ranks(values: list[float]) -> list[float]:
    """From 1; equal values share the mean of their ranks."""
    ordered = sorted(values)
    return [np.mean([i + 1 for i, v in enumerate(ordered) if v == value]) for value in values]


def rank_correlation(one: list[float], other: list[float]) -> float:
    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


@torch.no_grad()
def single_deletion(
    function: Callable[[Tensor], Tensor],
    image: Tensor,
    attribution: Tensor,
    label: Any,
    patches: int,
) -> float:
    """One image (C, H, W) whose sides are divisible by the number of patches."""
    height, width = image.shape[1] // patches, image.shape[2] // patches
    sums, drops = [], []
    for i in range(patches):
        for j in range(patches):
            part = np.s_[:, i * height : (i + 1) * height, j * width : (j + 1) * width]
            deleted = image.clone()
            deleted[part] = 0
            sums.append(float(attribution[part].sum()))
            drops.append(float(function(image[None])[0, label] - function(deleted[None])[0, label]))
    return rank_correlation(sums, drops)
