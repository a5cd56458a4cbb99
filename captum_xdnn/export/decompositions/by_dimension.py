r"""The backward pass of what acts on each dimension alone: average pooling, resizing, padding.

Such an operation is linear, and a product :math:`M_1 \otimes M_2 \otimes \dots` of a matrix for each
dimension; its backward pass is that of the transposed matrices. The matrix is what the operation
makes of the unit matrix: it needs no formula of its own, and a runtime computes it once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten

Along = Callable[[Tensor, int], Tensor]
"""What an operation does along one dimension, its number given, to the last one of ``(L, 1, L)``."""


def transposed(grad: Tensor, lengths: Sequence[Any], along: Along) -> Tensor:
    """The gradient by a tensor whose last dimensions, of these lengths, an operation acts on."""
    first = grad.dim() - len(lengths)
    for dim, length in enumerate(lengths):
        unit = torch.eye(length, dtype=grad.dtype, device=grad.device)
        matrix = along(unit.unsqueeze(1), dim).squeeze(1)  # (L, L of the result)
        grad = (grad.transpose(first + dim, -1) @ matrix.transpose(0, 1)).transpose(first + dim, -1)
    return grad


def average_along(
    dim: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    dims: int,
) -> Callable[[Tensor], Tensor]:
    """Average pooling along one of its dimensions."""
    k, p = (_of_each(v, dims)[dim] for v in (kernel, padding))
    s = _of_each(stride, dims)[dim] if stride else k

    def pooled(unit: Tensor) -> Tensor:
        found: Tensor = _aten.avg_pool2d.default(
            unit.unsqueeze(2), [1, k], [1, s], [0, p], ceil_mode, count_include_pad
        )
        return found.squeeze(2)

    return pooled


def _avg_pool_backward(dims: int) -> Callable[..., Tensor]:
    def backward(
        grad_output: Tensor,
        self: Tensor,
        kernel_size: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        ceil_mode: bool,
        count_include_pad: bool,
        divisor_override: int | None,
    ) -> Tensor:
        kernels = _of_each(kernel_size, dims)
        counted = count_include_pad or divisor_override is not None

        def along(unit: Tensor, dim: int) -> Tensor:
            one = average_along(dim, kernel_size, stride, padding, ceil_mode, counted, dims)
            if divisor_override is None:
                return one(unit)
            return _summed_windows(unit, dim, kernels, stride, padding, ceil_mode, dims)

        found = transposed(grad_output, self.shape[-dims:], along)
        return found if divisor_override is None else found / divisor_override

    return backward


def _summed_windows(
    unit: Tensor,
    dim: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    dims: int,
) -> Tensor:
    """The sum over each window, along one dimension."""
    k, p = kernel[dim], _of_each(padding, dims)[dim]
    s = _of_each(stride, dims)[dim] if stride else k
    found: Tensor = _aten.avg_pool2d.default(
        unit.unsqueeze(2), [1, k], [1, s], [0, p], ceil_mode, True, 1
    )
    return found.squeeze(2)


def _adaptive_backward(dims: int) -> Callable[..., Tensor]:
    def backward(grad_output: Tensor, self: Tensor) -> Tensor:
        lengths, found = self.shape[-dims:], grad_output.shape[-dims:]
        return transposed(grad_output, lengths, lambda unit, d: adaptive_mean(unit, found[d]))

    return backward


def adaptive_mean(value: Tensor, count: int) -> Tensor:
    """The means over ``count`` parts of the last dimension, from ``floor(i L / n)`` to ``ceil((i+1) L / n)``."""
    length = value.shape[-1]
    places = torch.arange(length, device=value.device).unsqueeze(1)
    parts = torch.arange(count, device=value.device).unsqueeze(0)
    starts = torch.div(parts * length, count, rounding_mode="floor")
    ends = torch.div((parts + 1) * length + count - 1, count, rounding_mode="floor")
    inside = ((places >= starts) & (places < ends)).to(value.dtype)
    return value @ (inside / (ends - starts).to(value.dtype))


def _adaptive(dims: int) -> Callable[..., Tensor]:
    def forward(self: Tensor, output_size: Sequence[int]) -> Tensor:
        for dim, count in enumerate(_of_each(output_size, dims)):
            at = self.dim() - dims + dim
            self = adaptive_mean(self.transpose(at, -1), count).transpose(at, -1)
        return self

    return forward


def _resized_backward(forward: Any, dims: int, *, corners: bool) -> Callable[..., Tensor]:
    """The backward pass of a resizing in some dimensions, by that in one of two."""

    def backward(
        grad_output: Tensor, output_size: Sequence[int], input_size: Sequence[int], *further: Any
    ) -> Tensor:
        aligned, scales = (further[:1], further[1:]) if corners else ((), further)
        sizes = grad_output.shape[-dims:]

        def along(unit: Tensor, dim: int) -> Tensor:
            scale = scales[dim] if dim < len(scales) else None
            found: Tensor = forward(unit.unsqueeze(2), [1, sizes[dim]], *aligned, None, scale)
            return found.squeeze(2)

        return transposed(grad_output, list(input_size)[-dims:], along)

    return backward


def _padded_backward(forward: Any, dims: int) -> Callable[..., Tensor]:
    def backward(grad_output: Tensor, self: Tensor, padding: Sequence[int]) -> Tensor:
        def along(unit: Tensor, dim: int) -> Tensor:
            at = 2 * (dims - 1 - dim)  # the last dimension comes first
            found: Tensor = forward(unit, list(padding[at : at + 2]))
            return found

        return transposed(grad_output, self.shape[-dims:], along)

    return backward


def _of_each(value: Any, dims: int) -> list[Any]:
    values = [value] if isinstance(value, int) else list(value)
    return values * dims if len(values) == 1 else values


DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    _aten.avg_pool2d_backward.default: _avg_pool_backward(2),
    _aten.avg_pool3d_backward.default: _avg_pool_backward(3),
    _aten._adaptive_avg_pool2d_backward.default: _adaptive_backward(2),
    _aten._adaptive_avg_pool3d_backward.default: _adaptive_backward(3),
    _aten._adaptive_avg_pool2d.default: _adaptive(2),
    _aten._adaptive_avg_pool3d.default: _adaptive(3),
}
for _name, _dims in (("1d", 1), ("2d", 2), ("3d", 3)):
    for _kind in ("upsample_nearest", "_upsample_nearest_exact"):
        _flat = getattr(_aten, f"{_kind}2d").default
        _target = getattr(_aten, f"{_kind}{_name}_backward").default
        DECOMPOSITIONS[_target] = _resized_backward(_flat, _dims, corners=False)
    for _kind in ("reflection", "replication"):
        _line = getattr(_aten, f"{_kind}_pad1d").default
        _target = getattr(_aten, f"{_kind}_pad{_name}_backward").default
        DECOMPOSITIONS[_target] = _padded_backward(_line, _dims)
for _name, _dims in (("linear1d", 1), ("bilinear2d", 2), ("trilinear3d", 3)):
    _target = getattr(_aten, f"upsample_{_name}_backward").default
    _flat = _aten.upsample_bilinear2d.default
    DECOMPOSITIONS[_target] = _resized_backward(_flat, _dims, corners=True)
DECOMPOSITIONS[_aten.upsample_bicubic2d_backward.default] = _resized_backward(
    _aten.upsample_bicubic2d.default, 2, corners=True
)
