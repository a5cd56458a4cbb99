"""Maximum pooling in ONNX, with the places of the maxima as torch numbers them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from onnxscript import INT64
from onnxscript import opset18 as op
from onnxscript.onnx_types import TensorType


def _max_pool(dims: int) -> Any:
    """``aten.max_poolNd_with_indices``.

    ONNX numbers the entries of all channels through, torch those of each: the difference is that of each channel's
    first entry. (torch's exporter gets it by another pooling, of windows of one entry, which takes as long as the first.)
    """

    def pooled(
        self: TensorType,
        kernel_size: Sequence[int],
        stride: Sequence[int] = (),
        padding: Sequence[int] = (0,),
        dilation: Sequence[int] = (1,),
        ceil_mode: bool = False,
    ) -> tuple[TensorType, INT64]:
        def of_each(value: Sequence[int]) -> list[int]:
            return list(value) * dims if len(value) == 1 else list(value)

        kernel, strides, pads = map(of_each, (kernel_size, stride or kernel_size, padding))
        windows = [d * (k - 1) + 1 for d, k in zip(of_each(dilation), kernel, strict=True)]
        lengths, ends = [*self.shape][-dims:], pads
        if ceil_mode and all(isinstance(n, int) for n in lengths):
            asked = [*map(_end, lengths, windows, strides, pads)]
            if None in asked:
                ceil_mode = False
                ends = [p if end is None else end for p, end in zip(pads, asked, strict=True)]
        is_single = len(self.shape) == dims + 1
        images = op.Unsqueeze(self, op.Constant(value_ints=[0])) if is_single else self
        values, places = op.MaxPool(
            images,
            ceil_mode=int(ceil_mode),
            dilations=of_each(dilation),
            kernel_shape=kernel,
            pads=[*pads, *ends],
            strides=strides,
        )
        channels, sizes = op.Shape(images, end=2), op.Shape(images, start=2)
        zero, one = op.Constant(value_int=0), op.Constant(value_int=1)
        numbers = op.Range(zero, op.ReduceProd(channels, keepdims=0), one)
        firsts = op.Reshape(
            op.Mul(numbers, op.ReduceProd(sizes, keepdims=0)),
            op.Concat(channels, op.Constant(value_ints=[1] * dims), axis=0),
        )
        places = op.Sub(places, firsts)
        if is_single:
            axis = op.Constant(value_ints=[0])
            return op.Squeeze(values, axis), op.Squeeze(places, axis)
        return values, places

    return pooled


def _end(size: int, window: int, stride: int, pad: int) -> int | None:
    """The padding with which the last window ends; None where torch leaves that out, as it would begin there."""
    last = -((window - size - 2 * pad) // stride) * stride
    return None if last >= size + pad else last + window - size - pad


def translations() -> dict[Any, Any]:
    """What torch's exporter is given."""
    return {
        torch.ops.aten.max_pool2d_with_indices.default: _max_pool(2),
        torch.ops.aten.max_pool3d_with_indices.default: _max_pool(3),
    }
