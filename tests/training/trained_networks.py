"""Networks to train with a prior on their attributions, and what they are trained on."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations


def perceptron(*, bias: bool = False) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(6, 16, bias=bias), nn.ReLU(), nn.Linear(16, 8, bias=bias), nn.ReLU(),
        nn.Linear(8, 3, bias=bias),
    ).double()  # fmt: skip


def convolutional() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False),
        nn.LeakyReLU(0.1),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1, bias=False),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 3, bias=False),
    ).double()


def weight_normed() -> nn.Sequential:
    """Weights that are computed: the way back to them leads through operations of their own."""
    net = perceptron()
    for layer in (net[0], net[2]):
        parametrizations.weight_norm(layer)
    return net


class Residual(nn.Module):
    """Skip connections, a slope that is learnt, and one layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 6, bias=False)
        self.slope = nn.PReLU(6)
        self.last = nn.Linear(6, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = x + self.slope(self.inner(x))
        return self.last(torch.maximum(hidden, self.inner(hidden)))


class Gated(nn.Module):
    """Degree 2: its gradient depends on its activations."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(6, 3, bias=False), nn.Linear(6, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) * torch.relu(self.other(x))


class Normed(nn.Module):
    """Degree 1, and bent everywhere: divided by its own length."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.Linear(6, 8, bias=False), nn.Linear(8, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.inner(x))
        return self.last(hidden * hidden / torch.linalg.vector_norm(hidden, dim=1, keepdim=True))


def rows(batch: int = 5) -> Tensor:
    return torch.randn(batch, 6, dtype=torch.float64)


def images(batch: int = 3) -> Tensor:
    return torch.randn(batch, 1, 8, 8, dtype=torch.float64)


def affine() -> nn.Sequential:
    net = perceptron()
    net[-1] = nn.Linear(8, 3).double()
    return net


PIECEWISE_LINEAR = {
    "perceptron": (perceptron, rows),
    "convolutional": (convolutional, images),
    "weight norm": (weight_normed, rows),
    "residual": (lambda: Residual().double(), rows),
    "bias of the last layer": (affine, rows),
}
BENT = {
    "degree 2": (lambda: Gated().double(), rows),
    "divided by its length": (lambda: Normed().double(), rows),
}
