"""Attributions as priors and metrics take them: one tensor or a tuple, dimension 0 the batch."""

import operator
from typing import Any

import torch
from torch import Tensor

Attributions = Tensor | tuple[Tensor, ...]


def parts_of(attributions: Any, name: str = "attributions") -> tuple[Tensor, ...]:
    """The tensors, checked; ``name`` is what an error calls them."""
    parts = attributions if isinstance(attributions, tuple) else (attributions,)
    wrong = [type(part).__name__ for part in parts if not isinstance(part, Tensor)]
    if wrong or not parts:
        found = ", ".join(wrong) or "()"
        raise AssertionError(f"{name} must be a tensor or a tuple of tensors, found {found}")
    for part in parts:
        if part.dim() == 0 or part.numel() == 0 or not part.is_floating_point():
            raise ValueError(
                f"{name} must be floating-point tensors of shape (B, ...) with entries, found "
                f"{part.dtype} of shape {tuple(part.shape)}"
            )
    if len({len(part) for part in parts}) > 1:
        raise ValueError(f"{name} differ in batch size: {[len(part) for part in parts]}")
    return parts


def wide_parts_of(attributions: Any) -> tuple[Tensor, ...]:
    """The tensors, in single precision or better: sums of half precision overflow."""
    return tuple(
        part.to(torch.promote_types(part.dtype, torch.float32)) for part in parts_of(attributions)
    )


def features_of(attributions: Any) -> Tensor:
    """All entries of each example in one row, shape ``(B, D)``, in single precision or better."""
    rows = [part.reshape(len(part), -1) for part in wide_parts_of(attributions)]
    return rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)


def one_of(attributions: Any, name: str = "attributions") -> Tensor:
    """The tensor, where there has to be one alone."""
    parts = parts_of(attributions, name)
    if len(parts) > 1:
        raise AssertionError(f"{name} must be one tensor, found {len(parts)} of them")
    return parts[0]


def images_and_maps(inputs: Any, attributions: Any) -> tuple[Tensor, Tensor]:
    """Images ``(B, C, H, W)`` and their attributions, of that shape or with one channel."""
    images, maps = one_of(inputs, "inputs"), one_of(attributions)
    fits = images.dim() == maps.dim() == 4 and maps.shape[1] in (1, images.shape[1])
    if not fits or (images.shape[0], images.shape[2:]) != (maps.shape[0], maps.shape[2:]):
        raise ValueError(
            f"images must be of shape (B, C, H, W) and attributions like them, or with one channel; "
            f"found {tuple(images.shape)} and {tuple(maps.shape)}"
        )
    return images, maps


def positive_integer(value: Any, name: str) -> int:
    """The value, if it is one; else a ``ValueError``."""
    try:
        number = int(operator.index(value))  # NumPy's and tensors' are integers as well
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(f"{name} must be a positive integer, found {value!r}")
    return number
