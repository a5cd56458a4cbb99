r"""The backward pass of convolutions, by convolutions.

The gradient by the input of a convolution of stride 1 is a plain one of turned kernels, which runtimes
compute sooner, else the transposed one of the gradient, with as much output padding as the division by
the stride has cut off; that of a transposed one is the plain one. The
gradient by the weight is a convolution in which batch and channels change places, and so do stride
and dilation. In any number of dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten
Masked = tuple[Tensor | None, Tensor | None, Tensor | None]


def convolution_backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    bias_sizes: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    output_mask: Sequence[bool],
) -> Masked:
    """``aten.convolution_backward``."""
    dims = input.dim() - 2
    stride, padding, dilation = (_of_each(v, dims) for v in (stride, padding, dilation))
    by_input = by_weight = by_bias = None
    if output_mask[0]:
        setting = (stride, padding, dilation)
        by_input = _by_input(grad_output, input, weight, *setting, transposed, groups)
    if output_mask[1]:
        pair = (grad_output, input) if transposed else (input, grad_output)
        by_weight = _by_weight(*pair, weight.shape[2:], stride, padding, dilation, groups)
    if output_mask[2]:
        by_bias = grad_output.sum([0, *range(2, grad_output.dim())])
    return by_input, by_weight, by_bias


def _by_input(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    groups: int,
) -> Tensor:
    lengths, zeros = input.shape[2:], [0] * len(stride)
    if transposed:
        found: Tensor = _aten.convolution.default(
            grad, weight, None, stride, padding, dilation, False, zeros, groups
        )
        for dim, length in enumerate(
            lengths
        ):  # a dilation may allow more output padding than a stride
            if found.shape[dim + 2] != length:
                found = found.narrow(dim + 2, 0, length)
        return found
    padded = [d * (k - 1) - p for d, k, p in zip(dilation, weight.shape[2:], padding, strict=True)]
    if set(stride) == {1} and min(padded) >= 0:
        turned = weight.reshape([groups, -1, *weight.shape[1:]]).transpose(1, 2).flatten(0, 1)
        plain: Tensor = _aten.convolution.default(
            *(grad, turned.flip([*range(2, turned.dim())]), None),
            *(stride, padded, dilation, False, zeros, groups),
        )
        return plain
    lost = [
        n - ((g - 1) * s - 2 * p + d * (k - 1) + 1)
        for n, g, s, p, d, k in zip(
            *(lengths, grad.shape[2:], stride, padding, dilation, weight.shape[2:]), strict=True
        )
    ]
    result: Tensor = _aten.convolution.default(
        grad, weight, None, stride, padding, dilation, True, lost, groups
    )
    return result


def _by_weight(
    input: Tensor,
    grad: Tensor,
    kernel: Sequence[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    rows, places = input.shape[0], list(input.shape[2:])
    # (channels of a group, group by group the rows, ...)
    by_groups = input.reshape([rows, groups, -1, *places]).transpose(0, 2)
    data = by_groups.reshape([by_groups.shape[0], -1, *places])
    kernels = grad.transpose(0, 1)
    zeros = [0] * len(stride)
    found = _aten.convolution.default(
        data, kernels, None, dilation, padding, stride, False, zeros, groups
    )
    for dim, length in enumerate(kernel):
        if found.shape[dim + 2] != length:
            found = found.narrow(dim + 2, 0, length)
    result: Tensor = found.transpose(0, 1)
    return result


def _of_each(value: Sequence[int], dims: int) -> list[int]:
    return [*value] * dims if len(value) == 1 else [*value]


DECOMPOSITIONS = {_aten.convolution_backward.default: convolution_backward}
