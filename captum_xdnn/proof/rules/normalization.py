"""Normalisation and batch norm: affine in evaluation mode with running statistics, else decided by eps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_xdnn.proof.batch_dim import BatchDim, BatchedCall, rank_of
from captum_xdnn.proof.domain import FIXED, Affine, Motion, Unknown, is_constant
from captum_xdnn.proof.laws import added, homogeneous, product
from captum_xdnn.proof.operand import Operand, motion_of
from captum_xdnn.proof.registry import SCALED, know, law, refuse
from captum_xdnn.proof.row_laws import before, images

TRAINING = (
    "batch norm in training mode uses the statistics of the batch and writes a buffer",
    "call model.eval()",
)
OF_THE_INPUT = (
    "normalisation by statistics of the input itself (instance norm, or batch norm that tracks none)",
    "use batch norm with running statistics, in evaluation mode, or a network without this layer",
)


def of_channels(call: BatchedCall) -> BatchDim | None:
    """With constants; else with what each channel has in common, all rows standing in one dimension."""
    data = call.state(call.data)
    if not isinstance(data, BatchDim) or len(call.shape) != rank_of(call.data):
        return None
    alone = call.lone() is not None
    if not call["training"]:
        return data if alone and data.dim == 0 else None
    channels = BatchDim(0, data.width, data.outer)
    others = all(s == channels for node, s in call.batched if node is not call.data)
    return data if data.dim == 1 and others else None


@law("_native_batch_norm_legit_no_training", rows=of_channels, pieces=SCALED)
def _batch_norm(
    input: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    momentum: float,
    eps: float,
) -> tuple[Motion, ...]:
    """``scale * input + shift`` with ``shift = bias - mean * weight / sqrt(var + eps)``."""
    del momentum
    return _scaled_and_shifted(input, weight, bias, running_mean, running_var, eps), FIXED, FIXED


@law("native_batch_norm", rows=of_channels, pieces=SCALED)
def _native_batch_norm(
    input: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Motion, ...]:
    """See above, in evaluation mode."""
    if training:
        return Unknown(*(OF_THE_INPUT if running_mean is None else TRAINING)), FIXED, FIXED
    return _batch_norm(input, weight, bias, running_mean, running_var, momentum, eps)


@law("miopen_batch_norm", rows=of_channels)
def _miopen_batch_norm(*arguments: Any) -> tuple[Motion, ...]:
    """See above."""
    return _native_batch_norm(*arguments)


@law("cudnn_batch_norm", rows=of_channels, pieces=SCALED)
def _cudnn_batch_norm(*arguments: Any) -> tuple[Motion, ...]:
    """See above; the fourth result is reserved for the way back."""
    return *_native_batch_norm(*arguments), FIXED


@law("_batch_norm_no_update", rows=of_channels)
def _batch_norm_no_update(*arguments: Any) -> tuple[Motion, ...]:
    """See above; the fourth result is reserved for the way back."""
    return *_batch_norm(*arguments), FIXED


refuse("_native_batch_norm_legit_functional _batch_norm_with_update", *TRAINING)
refuse("_native_batch_norm_legit", *TRAINING, rows=of_channels)
refuse("_native_batch_norm_legit.no_stats", *OF_THE_INPUT)
know("batch_norm", rows=of_channels)


def _scaled_and_shifted(
    input: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: float
) -> Motion:
    known = [p for p in (weight, bias, mean, var) if p is not None]
    if any(motion_of(p) != FIXED for p in known):
        return Unknown("batch norm whose parameters are computed from the input")
    scaled = motion_of(input)
    if isinstance(scaled, Unknown) or _shift_vanishes(weight, bias, mean, var, eps):
        return scaled
    shifted = added(scaled, FIXED)
    if isinstance(shifted, Affine):
        return Affine(f"shift of {mean.fake.numel()} channels is not zero at the baseline")
    return shifted


def _shift_vanishes(
    weight: Operand | None, bias: Operand | None, mean: Operand, var: Operand, eps: float
) -> bool:
    optional = [p for p in (weight, bias) if p is not None]
    return mean.vanishes(_Shift(weight is not None, bias is not None, eps), var, *optional)


@dataclass(frozen=True)
class _Shift:
    """The shift of a batch norm as a function of its tensors, of which two may be absent."""

    weighted: bool
    biased: bool
    eps: float

    def __call__(self, mean: Tensor, var: Tensor, *rest: Tensor) -> Tensor:
        """The shift of each channel."""
        given = list(rest)
        scale: Any = given.pop(0) if self.weighted else 1
        offset: Any = given.pop(0) if self.biased else 0
        return torch.as_tensor(offset - mean * scale * torch.rsqrt(var + self.eps))


def normed(call: BatchedCall) -> BatchDim | None:
    """Over the last dimensions."""
    return before(call, len(call["normalized_shape"]))


know("rms_norm _fused_rms_norm", rows=normed)


@law("native_layer_norm", rows=normed)
@law("native_group_norm", rows=images)
def _normalise(input: Any, *rest: Any) -> Any:
    """``(x - mean) / sqrt(var + eps)``: it does not move if eps is zero, else unknown."""
    weight, bias, eps = rest[1], rest[2], rest[-1]
    if len(rest) > 4:  # group norm: weight, bias, N, C, HxW, group, eps
        weight, bias = rest[0], rest[1]
    whitened = _whitened(input, eps)
    scaled = whitened if weight is None else product(whitened, weight)
    result = scaled if bias is None else added(scaled, bias)
    return result, homogeneous(input), homogeneous(input, -1)


@law("layer_norm", rows=normed)
def _layer_norm(
    input: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *_: Any,
) -> Any:
    """See native_layer_norm."""
    return _normalise(input, normalized_shape, weight, bias, eps)[0]


@law("group_norm", rows=images)
def _group_norm(
    input: Any,
    num_groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *_: Any,
) -> Any:
    """See native_group_norm."""
    return _normalise(input, weight, bias, 0, 0, 0, num_groups, eps)[0]


def _whitened(input: Any, eps: float) -> Motion:
    motion = homogeneous(input, 0)
    if isinstance(motion, Unknown) or eps == 0 or is_constant(motion_of(input)):
        return motion
    return Unknown(
        f"normalisation by statistics of the input with eps = {eps:g}",
        "use a network without this layer; with eps = 0 it would scale like a constant",
        homogeneous(input),
    )
