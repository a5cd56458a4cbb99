"""The unit of rounding of a computation: what the guard measures a gap in."""

from __future__ import annotations

from operator import attrgetter

import torch
from torch import Tensor

_BACKENDS = {
    "cuda": ("cuda.matmul", "cudnn.conv", "cudnn.rnn"),
    "cpu": ("mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn"),
}
_UNITS = {"tf32": 2.0**-10, "bf16": 2.0**-7}
_BY_BACKEND = hasattr(torch.backends.cuda.matmul, "fp32_precision")
"""Since 2.9 torch has one switch for each backend, and the older ones raise if both were used."""


def precision_of(inputs: tuple[Tensor, ...], coarsest: float) -> float:
    """The unit of rounding that the dtypes of a computation set.

    Args:
        inputs: The inputs.
        coarsest: The largest unit among the dtypes inside of the watched run.

    Returns:
        The largest of: the inputs' dtype, the function's dtypes, autocast's dtype.
    """
    device = inputs[0].device.type
    units = [coarsest, *(torch.finfo(tensor.dtype).eps for tensor in inputs)]
    if device in _BACKENDS and torch.is_autocast_enabled(device):
        units.append(torch.finfo(torch.get_autocast_dtype(device)).eps)
    return max(units)


def lost_below(precision: float) -> float:
    """The smallest normal number of the dtype with a unit of rounding: smaller ones lose digits."""
    half = torch.finfo(torch.float16)
    return half.tiny if precision == half.eps else torch.finfo(torch.float32).tiny


def reduced_precision_of(inputs: tuple[Tensor, ...]) -> float:
    """The unit of the precision in which torch may compute float32 products: TF32, bfloat16.

    Apart from ``precision_of`` because reading torch's switches takes as long as the whole
    guard on a small network; it only matters where a gap exceeds the dtypes' rounding.

    Returns:
        The unit; 0 if products are computed in float32 itself.
    """
    device = inputs[0].device.type
    return _reduced(device) if device in _BACKENDS else 0.0


def _reduced(device: str) -> float:
    """The unit in which products of float32 numbers may be computed; 0 if in float32 itself."""
    if _BY_BACKEND:
        chosen = [attrgetter(name)(torch.backends).fp32_precision for name in _BACKENDS[device]]
        return max(_UNITS.get(name, 0.0) for name in chosen)
    if device == "cuda":
        faster = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
        return _UNITS["tf32"] if faster else 0.0
    return _UNITS["bf16"] if torch.get_float32_matmul_precision() == "medium" else 0.0
