"""Normalisation: affine in evaluation mode with running statistics, else decided by eps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_xdnn.proof.domain import FIXED, Affine, Motion, Unknown, is_constant
from captum_xdnn.proof.laws import added, homogeneous, product
from captum_xdnn.proof.operand import Operand, motion_of
from captum_xdnn.proof.registry import register_rule

TRAINING = Unknown(
    "batch norm in training mode uses the statistics of the batch and writes a buffer",
    "call model.eval()",
)
OF_THE_INPUT = Unknown(
    "normalisation by statistics of the input itself (instance norm, or batch norm that tracks none)",
    "use batch norm with running statistics, in evaluation mode, or a network without this layer",
)


@register_rule("aten._native_batch_norm_legit_no_training.default")
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


@register_rule("aten.native_batch_norm.default")
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
        return (OF_THE_INPUT if running_mean is None else TRAINING), FIXED, FIXED
    return _batch_norm(input, weight, bias, running_mean, running_var, momentum, eps)


@register_rule("aten.miopen_batch_norm.default")
def _miopen_batch_norm(*arguments: Any) -> tuple[Motion, ...]:
    """See above."""
    return _native_batch_norm(*arguments)


@register_rule("aten.cudnn_batch_norm.default")
def _cudnn_batch_norm(*arguments: Any) -> tuple[Motion, ...]:
    """See above; the fourth result is reserved for the way back."""
    return *_native_batch_norm(*arguments), FIXED


@register_rule("aten._batch_norm_no_update.default")
def _batch_norm_no_update(*arguments: Any) -> tuple[Motion, ...]:
    """See above; the fourth result is reserved for the way back."""
    return *_batch_norm(*arguments), FIXED


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


@register_rule(["aten.native_layer_norm.default", "aten.native_group_norm.default"])
def _normalise(input: Any, *rest: Any) -> Any:
    """``(x - mean) / sqrt(var + eps)``: it does not move if eps is zero, else unknown."""
    weight, bias, eps = rest[1], rest[2], rest[-1]
    if len(rest) > 4:  # group norm: weight, bias, N, C, HxW, group, eps
        weight, bias = rest[0], rest[1]
    whitened = _whitened(input, eps)
    scaled = whitened if weight is None else product(whitened, weight)
    result = scaled if bias is None else added(scaled, bias)
    return result, homogeneous(input), homogeneous(input, -1)


@register_rule("aten.layer_norm.default")
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


@register_rule("aten.group_norm.default")
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
