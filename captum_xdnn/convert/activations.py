"""Activations that bend elsewhere than at zero, or smoothly."""

from __future__ import annotations

from torch import nn

INHOMOGENEOUS: tuple[type[nn.Module], ...] = (
    nn.Hardtanh,  # and ReLU6, which is one
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.Hardswish,
    nn.Softplus,
)
"""What stands in for a ReLU; gates (sigmoid, tanh) do not, and are left."""


def is_inhomogeneous(module: nn.Module) -> bool:
    """Whether a module is an activation that another one takes the place of."""
    return isinstance(module, INHOMOGENEOUS)
