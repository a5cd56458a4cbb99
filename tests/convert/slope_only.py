"""A network without shifts, by definition: in float64, each module replaced by its slope."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Slope(nn.Module):
    """gamma x / sqrt(variance + eps), per channel."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        rows = []
        for c in range(x.shape[1]):
            gamma = 1.0 if self.norm.weight is None else float(self.norm.weight[c].detach())
            rows.append(gamma * x[:, c] / (float(self.norm.running_var[c]) + self.norm.eps) ** 0.5)
        return torch.stack(rows, 1)


def slope_only(network: nn.Module) -> nn.Module:
    """A copy whose biases are zero and whose batch norms are slopes; other modules stay."""
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd) and module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(network, _BatchNorm):
        return Slope(network)
    for module in list(network.modules()):
        for name, child in list(module._modules.items()):
            if isinstance(child, _BatchNorm):
                module._modules[name] = Slope(child)
    return network
