"""Ask for a certificate and insist on one verdict; layers and networks to ask of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from captum_xdnn.homogeneity import Certificate, certify

X = torch.ones(2, 3)
IMAGE = torch.ones(2, 3, 6, 6)


def blamed(function: Callable[..., Any], inputs: Any = X, **call: Any) -> list[str]:
    certificate = certify(function, inputs, **call)
    assert not certificate.homogeneous
    assert certificate.degree is None
    return [b.module or b.op for b in certificate.blockers]


def proved(function: Callable[..., Any], inputs: Any = X, **call: Any) -> Certificate:
    certificate = certify(function, inputs, **call)
    assert certificate.homogeneous, str(certificate)
    assert not certificate.blockers
    return certificate


def shifted_norm(channels: int, value: float = 1.0) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    nn.init.constant_(norm.bias, value)
    return norm


def conv(n_in: int, n_out: int, *, bias: float | None = None) -> nn.Conv2d:
    layer = nn.Conv2d(n_in, n_out, 3, padding=1, bias=bias is not None)
    if bias is not None:
        nn.init.constant_(layer.bias, bias)
    return layer


def stack(*, bias: bool = False) -> nn.Sequential:
    """The smallest network that is homogeneous, and with a bias of zero if asked for."""
    model = nn.Sequential(nn.Linear(3, 4, bias=bias), nn.ReLU(), nn.Linear(4, 2, bias=False))
    if bias:
        nn.init.zeros_(model[0].bias)
    return model
