"""Small functions of known degree along the ray from their baseline, in float64."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def mlp(outputs: int = 3) -> nn.Module:
    """Degree 1, inputs of shape (B, 6)."""
    return nn.Sequential(
        nn.Linear(6, 16, bias=False),
        nn.ReLU(),
        nn.Linear(16, 12, bias=False),
        nn.LeakyReLU(0.2),
        nn.Linear(12, outputs, bias=False),
    ).double()


def biased_mlp(outputs: int = 3) -> nn.Module:
    """Not homogeneous: biases everywhere."""
    return nn.Sequential(
        nn.Linear(6, 16),
        nn.ReLU(),
        nn.Linear(16, 12),
        nn.ReLU(),
        nn.Linear(12, outputs),
    ).double()


def affine_output() -> nn.Module:
    """Bias-free up to the last layer, whose bias only shifts the output."""
    return nn.Sequential(
        nn.Linear(6, 16, bias=False), nn.ReLU(), nn.Linear(16, 3, bias=True)
    ).double()


def conv_net() -> nn.Module:
    """Degree 1, inputs of shape (B, 3, 8, 8): convolutions and every kind of pooling."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False),
        nn.PReLU(),
        nn.AvgPool2d(2, padding=1),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 3, bias=False),
    ).double()


class Residual(nn.Module):
    """Degree 1, inputs of shape (B, 3, 8, 8): identity and projected shortcuts."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.inner = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.project = nn.Conv2d(6, 6, 1, stride=2, bias=False)
        self.down = nn.Conv2d(6, 6, 3, stride=2, padding=1, bias=False)
        self.head = nn.Linear(6, 3, bias=False)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.inner(x))
        x = torch.relu(self.project(x) + self.down(x))
        return self.head(x.amax((2, 3)))


class Squared(nn.Module):
    """Degree 2."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = mlp(), mlp()

    def forward(self, x: Tensor) -> Tensor:
        return self.left(x) * self.right(x)


class Root(nn.Module):
    """Degree 1/2."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).abs().sqrt()


class TwoInputs(nn.Module):
    """Degree 1 in inputs of shapes (B, 6) and (B, 2, 4) together."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 10, bias=False)
        self.second = nn.Linear(4, 5, bias=False)
        self.head = nn.Linear(10, 3, bias=False)
        self.double()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head(torch.relu(self.first(x) + self.second(y).flatten(1)))


class Weighted(nn.Module):
    """Degree 1 in the input; two additional arguments, one of them a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x: Tensor, weight: Tensor, scale: float) -> Tensor:
        return self.net(x) * weight * scale


class Normalised(nn.Module):
    """Degree 1 from the mean as baseline: input normalisation before a bias-free network."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.linspace(-0.5, 0.7, 6, dtype=torch.float64))
        self.register_buffer("std", torch.linspace(0.5, 1.5, 6, dtype=torch.float64))
        self.net = mlp()

    def forward(self, x: Tensor) -> Tensor:
        return self.net((x - self.mean) / self.std)


def images(batch: int = 4) -> Tensor:
    return torch.randn(batch, 3, 8, 8, dtype=torch.float64)


def rows(batch: int = 4) -> Tensor:
    return torch.randn(batch, 6, dtype=torch.float64)
