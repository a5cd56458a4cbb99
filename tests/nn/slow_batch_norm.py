"""The uncentred batch norm from its definition, one value at a time, in float64.

    y[b, c, p] = w[c] * x[b, c, p] / sqrt(q[c] + eps)

where q[c] is the mean of the squares over all examples b and positions p (training), or the running
mean of these: q <- (1 - m) q + m q[c]; with m = None, the mean of q over all batches so far.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class SlowBatchNorm:
    channels: int
    eps: float = 1e-5
    momentum: float | None = 0.1
    weight: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.weight = self.weight or [1.0] * self.channels
        self.running = [1.0] * self.channels
        self.batches: list[list[float]] = []

    def train(self, x: Tensor) -> Tensor:
        squares = [mean_square(x[:, c]) for c in range(self.channels)]
        self.batches.append(squares)
        for c, q in enumerate(squares):
            if self.momentum is None:
                self.running[c] = math.fsum(b[c] for b in self.batches) / len(self.batches)
            else:
                self.running[c] = (1 - self.momentum) * self.running[c] + self.momentum * q
        return self._divided(x, squares)

    def evaluate(self, x: Tensor) -> Tensor:
        return self._divided(x, self.running)

    def _divided(self, x: Tensor, squares: list[float]) -> Tensor:
        y = x.double().clone()
        for c, (q, w) in enumerate(zip(squares, self.weight, strict=True)):
            y[:, c] *= w / math.sqrt(q + self.eps)
        return y


def mean_square(values: Tensor) -> float:
    numbers = values.double().flatten().tolist()
    return math.fsum(v * v for v in numbers) / len(numbers)


def positions(dimensions: int) -> tuple[int, ...]:
    return (3, 4, 2)[:dimensions]


def batch(dimensions: int, channels: int = 3, examples: int = 5) -> Tensor:
    """Values of every channel at another scale and off zero."""
    shape = (examples, channels, *positions(dimensions))
    scales = torch.tensor([0.1, 1.0, 30.0], dtype=torch.float64)[:channels]
    return (torch.randn(shape, dtype=torch.float64) + 0.5) * scales.view(-1, *(1,) * dimensions)
