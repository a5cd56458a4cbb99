"""A model with the kinds of attributes that decide what models compute."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Configured(nn.Module):
    """A model with the kinds of attributes that decide what models compute."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout())
        self.blocks = nn.ModuleList([nn.Linear(4, 4)])
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 2)
        self.slope = 0.1
        self.mode = "fast"
        self.sizes = [1, 2, 3]
        self.table = {"depth": 2}
        self.names = {"one", "two"}
        self.nested = {"list": [1, {"deep": 1}]}
        self.activation: Callable[[Tensor], Tensor] = torch.relu
        self.mask = torch.ones(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x))
