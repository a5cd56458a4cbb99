"""Normalisation: affine in evaluation mode with running statistics, else decided by eps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_xdnn.homogeneity.laws import added, homogeneous, product
from captum_xdnn.homogeneity.motion import FIXED, Affine, Motion, Unknown, is_constant
from captum_xdnn.homogeneity.operand import Operand, motion_of
from captum_xdnn.homogeneity.registry import register_rule


@register_rule("aten._native_batch_norm_legit_no_training.default")
def _batch_norm(
    input: Any,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    momentum: float,
    eps: float,
) -> tuple[Motion, Motion, Motion]:
    """``scale * input + shift`` with ``shift = bias - mean * weight / sqrt(var + eps)``."""
    del momentum
    known = [p for p in (weight, bias, running_mean, running_var) if p is not None]
    if any(motion_of(p) != FIXED for p in known):
        moving = Unknown("batch norm whose parameters are computed from the input")
        return moving, FIXED, FIXED
    scaled = motion_of(input)
    if isinstance(scaled, Unknown):
        return scaled, FIXED, FIXED
    if _shift_vanishes(weight, bias, running_mean, running_var, eps):
        return scaled, FIXED, FIXED
    shifted = added(scaled, FIXED)
    if isinstance(shifted, Affine):
        channels = running_mean.fake.numel()
        shifted = Affine(f"shift of {channels} channels is not zero at the baseline")
    return shifted, FIXED, FIXED


def _shift_vanishes(
    weight: Operand | None, bias: Operand | None, mean: Operand, var: Operand, eps: float
) -> bool:
    optional = [p for p in (weight, bias) if p is not None]

    def shift(mean_value: Tensor, var_value: Tensor, *rest: Tensor) -> Tensor:
        values = dict(zip((p.node for p in optional), rest, strict=True))
        scale: Any = 1 if weight is None else values[weight.node]
        offset: Any = 0 if bias is None else values[bias.node]
        return torch.as_tensor(offset - mean_value * scale * torch.rsqrt(var_value + eps))

    return mean.vanishes(shift, var, *optional)


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
