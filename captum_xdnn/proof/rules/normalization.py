"""Normalisation and batch norm: affine in evaluation mode with running statistics, else decided by eps."""

from typing import Any

import torch
from torch import Tensor

from captum_xdnn.proof.batch_dim import BatchDim, BatchedCall, rank_of
from captum_xdnn.proof.domain import FIXED, Affine, Motion, Unknown, is_constant
from captum_xdnn.proof.laws import added, homogeneous, product
from captum_xdnn.proof.operand import Bound, motion_of
from captum_xdnn.proof.registry import SCALED, know, law, refuse
from captum_xdnn.proof.row_laws import before, images
from captum_xdnn.proof.rules.refused import AS_IT_IS

TRAINING = (
    "batch norm in training mode uses the statistics of the batch and writes a buffer",
    "call model.eval()",
)
OF_THE_INPUT = (
    "normalisation by statistics of the input itself (instance norm, or batch norm that tracks none)",
    f"use batch norm with running statistics, in evaluation mode; {AS_IT_IS}",
)


def of_channels(call: BatchedCall) -> BatchDim | None:
    """With constants; else with what each channel has in common, all rows standing in one dimension."""
    data = call.state(call.data)
    if not isinstance(data, BatchDim) or len(call.shape) != rank_of(call.data):
        return None
    if not call["training"]:
        return call.lone() if data.dim == 0 else None
    channels = BatchDim(0, data.width, data.outer)
    others = all(s == channels for node, s in call.batched if node is not call.data)
    return data if data.dim == 1 and others else None


def _batch_norm(names: str, results: int, **facts: Any) -> None:
    @law(names, rows=of_channels, **facts)
    def rule(
        input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, /, *settings: Any
    ) -> tuple[Motion, ...]:
        """``scale * input + shift`` with ``shift = bias - mean * weight / sqrt(var + eps)``.

        What else is returned is kept for the way back.
        """
        *training, _, eps = settings
        if any(training):
            motion: Motion = Unknown(*(OF_THE_INPUT if running_mean is None else TRAINING))
        else:
            motion = _scaled_and_shifted(input, weight, bias, running_mean, running_var, eps)
        return motion, *[FIXED] * (results - 1)


_batch_norm("_native_batch_norm_legit_no_training native_batch_norm", 3, pieces=SCALED)
_batch_norm("miopen_batch_norm", 3)
_batch_norm("cudnn_batch_norm", 4, pieces=SCALED)
_batch_norm("_batch_norm_no_update", 4)
refuse("_native_batch_norm_legit_functional _batch_norm_with_update", *TRAINING)
refuse("_native_batch_norm_legit", *TRAINING, rows=of_channels)
refuse("_native_batch_norm_legit.no_stats", *OF_THE_INPUT)
know("batch_norm", rows=of_channels)


def _scaled_and_shifted(
    input: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: float
) -> Motion:
    optional = [p for p in (weight, bias) if p is not None]
    if any(motion_of(p) != FIXED for p in (mean, var, *optional)):
        return Unknown("batch norm whose parameters are computed from the input")
    scaled = motion_of(input)
    shift = Bound(_shift, (weight is not None, bias is not None, eps))
    if isinstance(scaled, Unknown) or mean.vanishes(shift, var, *optional):
        return scaled
    shifted = added(scaled, FIXED)
    if isinstance(shifted, Affine):
        return Affine(f"shift of {mean.fake.numel()} channels is not zero at the baseline")
    return shifted


def _shift(is_weighted: bool, is_biased: bool, eps: float, *tensors: Tensor) -> Tensor:
    """The shift of each channel, of a batch norm's tensors, of which two may be absent."""
    mean, var, *given = tensors
    scale: Any = given.pop(0) if is_weighted else 1
    offset: Any = given.pop(0) if is_biased else 0
    return torch.as_tensor(offset - mean * scale * torch.rsqrt(var + eps))


def normed(call: BatchedCall) -> BatchDim | None:
    """Over the last dimensions."""
    return before(call, len(call["normalized_shape"]))


know("rms_norm _fused_rms_norm", rows=normed)


@law("layer_norm", rows=normed)
@law("group_norm", rows=images)
def _normalise(
    input: Any, _parts: Any, /, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any
) -> Motion:
    """``(x - mean) / sqrt(var + eps)``: it does not move if eps is zero, else unknown."""
    whitened = _whitened(input, eps)
    scaled = whitened if weight is None else product(whitened, weight)
    return scaled if bias is None else added(scaled, bias)


@law("native_layer_norm", rows=normed)
def _native_layer_norm(input: Any, *settings: Any) -> tuple[Motion, ...]:
    """The same, with the mean and the reciprocal of the deviation."""
    return _normalise(input, *settings), homogeneous(input), homogeneous(input, -1)


@law("native_group_norm", rows=images)
def _native_group_norm(input: Any, weight: Any, bias: Any, /, *settings: Any) -> tuple[Motion, ...]:
    """The same, with the mean and the reciprocal of the deviation."""
    return _native_layer_norm(input, None, weight, bias, settings[-1])


def _whitened(input: Any, eps: float) -> Motion:
    motion = homogeneous(input, 0)
    if isinstance(motion, Unknown) or eps == 0 or is_constant(motion_of(input)):
        return motion
    return Unknown(
        f"normalisation by statistics of the input with eps = {eps:g}",
        f"use a network without this layer; {AS_IT_IS}",
        homogeneous(input),
    )
