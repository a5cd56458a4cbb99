"""Attributions as the priors take them: one tensor or a tuple, dimension 0 the batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Attributions = Tensor | tuple[Tensor, ...]


def parts_of(attributions: Any, name: str = "attributions") -> tuple[Tensor, ...]:
    """The tensors, checked.

    Args:
        attributions: A tensor or a tuple of tensors, each of shape ``(B, ...)``.
        name: What the error calls them.

    Raises:
        AssertionError: If they are something else, as Captum raises it.
        ValueError: If they are empty, not of floating point, or of different batch sizes.
    """
    parts = attributions if isinstance(attributions, tuple) else (attributions,)
    wrong = [type(part).__name__ for part in parts if not isinstance(part, Tensor)]
    if wrong or not parts:
        found = ", ".join(wrong) or "()"
        message = f"{name} must be a tensor or a tuple of tensors, found {found}"
        raise AssertionError(message)
    for part in parts:
        if part.dim() == 0 or part.numel() == 0 or not part.is_floating_point():
            message = (
                f"{name} must be floating-point tensors of shape (B, ...) with entries, found "
                f"{part.dtype} of shape {tuple(part.shape)}"
            )
            raise ValueError(message)
    if len({len(part) for part in parts}) > 1:
        message = f"{name} differ in batch size: {[len(part) for part in parts]}"
        raise ValueError(message)
    return parts


def features_of(attributions: Any) -> Tensor:
    """All entries of each example in one row, shape ``(B, D)``."""
    rows = [part.reshape(len(part), -1) for part in parts_of(attributions)]
    return rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)
