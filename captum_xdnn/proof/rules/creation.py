"""Tensors made from a shape or from nothing: they do not move."""

from typing import Any

from captum_xdnn.proof.domain import FIXED, Motion
from captum_xdnn.proof.laws import merged
from captum_xdnn.proof.operand import Operand
from captum_xdnn.proof.registry import law
from captum_xdnn.proof.row_laws import entrywise

FRESH = "of a tensor, they take no more than dtype and device"
MADE = "zeros ones full scalar_tensor new_zeros new_ones new_full zeros_like ones_like full_like"
UNIFORM = frozenset(f"aten.{name}" for name in MADE.split())
"""Operations whose results have the same entry everywhere, where no tensor is their value."""


@law("full_like zeros_like ones_like", rows=entrywise, overwrites=0)
@law("zero", rows=entrywise, overwrites=0)
@law("new_full new_zeros new_ones", rows=FRESH)
def _like(_self: Any, /, *rest: Any, **__: Any) -> Motion:
    """Only the shape of the tensor is read; a value may be given."""
    return merged(part for part in rest if isinstance(part, Operand))


@law("full arange.start_step scalar_tensor", rows=FRESH)
def _made(*_: Any, **__: Any) -> Motion:
    """Nothing of the input goes in: a rule only for completeness, as no operand moves."""
    return FIXED
