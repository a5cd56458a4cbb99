"""Small networks as people train them, and what a trained one has that a new one has not."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "Linear": (nn.Linear(4, 3), (4,)),
    "Conv1d": (nn.Conv1d(2, 3, 2), (2, 5)),
    "Conv2d": (nn.Conv2d(2, 3, 2), (2, 4, 4)),
    "Conv3d": (nn.Conv3d(2, 3, 2), (2, 3, 3, 3)),
    "ConvTranspose1d": (nn.ConvTranspose1d(2, 3, 2), (2, 5)),
    "ConvTranspose2d": (nn.ConvTranspose2d(2, 3, 2), (2, 4, 4)),
    "ConvTranspose3d": (nn.ConvTranspose3d(2, 3, 2), (2, 3, 3, 3)),
}
"""Linear layers with biases, and the shape of an input."""


def trained(network: nn.Module) -> nn.Module:
    """The network with random biases, and batch norms with statistics, scales and shifts."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            for name, low in (("running_mean", -1.0), ("running_var", 0.3), ("weight", -1.5)):
                held = getattr(module, name)
                if held is not None:
                    nn.init.uniform_(held, low, 2.0)
        bias = getattr(module, "bias", None)
        if isinstance(bias, Tensor):
            nn.init.uniform_(bias, 0.5, 1.0)
    return network


def conv_net(*, bias: bool = False) -> nn.Sequential:
    """Convolution, batch norm, activation, and a head; inputs (B, 2, 6, 6), float64."""
    return trained(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, bias=bias),
            nn.BatchNorm2d(4),
            nn.SiLU(),
            nn.Conv2d(4, 6, 2, groups=2, bias=bias),
            nn.BatchNorm2d(6),
            nn.ReLU6(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 3),
        )
    ).double()  # type: ignore[return-value]


def images(examples: int = 3) -> Tensor:
    return torch.randn(examples, 2, 6, 6, dtype=torch.float64)


def mlp(*last: nn.Module) -> nn.Sequential:
    """Inputs (B, 4), float32."""
    return nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 3), *last)


def rows(examples: int = 3) -> Tensor:
    return torch.randn(examples, 4)


class Block(nn.Module):
    """A pre-activation residual block; the first norm reads the input, the second a convolution."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(torch.relu(self.norm1(x)))
        return x + self.conv2(torch.relu(self.norm2(y)))
