"""The backward pass of what chooses entries: the gradient goes to the places that were chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten


def _max_pool_backward(dims: int) -> Callable[..., Tensor]:
    """Windows may overlap: what one place gets of several is added up."""

    def backward(grad_output: Tensor, self: Tensor, *settings: Any) -> Tensor:
        indices = settings[-1]
        first = self.dim() - dims
        flat = self.new_zeros(self.shape).flatten(first)
        return flat.scatter_add(first, indices.flatten(first), grad_output.flatten(first)).reshape(
            self.shape
        )

    return backward


def unfold_backward(
    grad_in: Tensor, input_sizes: Sequence[int], dim: int, size: int, step: int
) -> Tensor:
    """Windows along one dimension, which may overlap: by a matrix of zeros and ones."""
    if not input_sizes:  # one number, of which there is one window
        return grad_in.sum()
    dim = dim % len(input_sizes)
    by_windows = grad_in.movedim(dim, -2).flatten(-2)
    count = grad_in.shape[dim]
    starts = torch.arange(count, device=grad_in.device).unsqueeze(1) * step
    places = (starts + torch.arange(size, device=grad_in.device)).flatten()
    length = torch.arange(input_sizes[dim], device=grad_in.device)
    matrix = (places.unsqueeze(1) == length).to(grad_in.dtype)
    return (by_windows @ matrix).movedim(-1, dim)


def diagonal_backward(
    grad_output: Tensor, input_sizes: Sequence[int], offset: int, dim1: int, dim2: int
) -> Tensor:
    """The gradient of each diagonal at its places in zeros."""
    dims = len(input_sizes)
    dim1, dim2 = dim1 % dims, dim2 % dims
    columns = torch.arange(input_sizes[dim2], device=grad_output.device)
    lines = torch.arange(input_sizes[dim1], device=grad_output.device)
    number = (lines - max(-offset, 0)).clamp(0, max(grad_output.shape[-1] - 1, 0))
    by_lines = grad_output.index_select(-1, number).unsqueeze(-1)
    inside = columns == lines.unsqueeze(1) + offset
    return torch.where(inside, by_lines, 0.0).movedim((-2, -1), (dim1, dim2))


def threshold_backward(grad_output: Tensor, self: Tensor, threshold: float) -> Tensor:
    """The gradient above a threshold, of finite ones: a product, which runtimes compute sooner than a choice."""
    return (self <= threshold).logical_not().to(grad_output.dtype) * grad_output


DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    _aten.max_pool2d_with_indices_backward.default: _max_pool_backward(2),
    _aten.max_pool3d_with_indices_backward.default: _max_pool_backward(3),
    _aten.adaptive_max_pool2d_backward.default: _max_pool_backward(2),
    _aten.adaptive_max_pool3d_backward.default: _max_pool_backward(3),
    _aten.unfold_backward.default: unfold_backward,
    _aten.diagonal_backward.default: diagonal_backward,
}
