"""Tensors made from a shape or from nothing: they do not move."""

from __future__ import annotations

from typing import Any

from captum_xdnn.proof.domain import FIXED, Motion
from captum_xdnn.proof.laws import merged
from captum_xdnn.proof.operand import Operand
from captum_xdnn.proof.registry import register_rule


@register_rule(
    [
        "aten.full_like.default",
        "aten.zeros_like.default",
        "aten.ones_like.default",
        "aten.new_full.default",
        "aten.new_zeros.default",
        "aten.new_ones.default",
    ]
)
def _like(self: Any, *rest: Any, **__: Any) -> Motion:
    """Only the shape of the tensor is read; a value may be given."""
    del self
    return merged(part for part in rest if isinstance(part, Operand))


@register_rule(
    [
        "aten.full.default",
        "aten.arange.start_step",
        "aten.scalar_tensor.default",
    ]
)
def _made(*_: Any, **__: Any) -> Motion:
    """Nothing of the input goes in: a rule only for completeness, as no operand moves."""
    return FIXED
