"""The smallest network that is homogeneous, and with a bias of zero if asked for."""

from __future__ import annotations

from torch import nn


def stack(*, bias: bool = False) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(3, 4, bias=bias), nn.ReLU(), nn.Linear(4, 2, bias=False))
    if bias:
        nn.init.zeros_(model[0].bias)
    return model
