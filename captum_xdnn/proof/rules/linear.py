"""Linear in their first argument: any motion passes, an affine one included."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch

from captum_xdnn.proof.domain import FIXED, Motion, Unknown, is_constant
from captum_xdnn.proof.laws import homogeneous, linear
from captum_xdnn.proof.operand import Operand, motion_of
from captum_xdnn.proof.registry import register_rule

VIEWS = [
    "aten.alias.default",
    "aten.lift_fresh.default",
    "aten.lift_fresh_copy.default",
    "aten._reshape_alias.default",
    "aten.unsafe_split.Tensor",
    "aten.unsafe_split_with_sizes.default",
    "aten.as_strided.default",
    "aten.clone.default",
    "aten.detach.default",
    "aten.diagonal.default",
    "aten.expand.default",
    "aten.flip.default",
    "aten.permute.default",
    "aten.repeat.default",
    "aten.roll.default",
    "aten.select.int",
    "aten.slice.Tensor",
    "aten.squeeze.default",
    "aten.squeeze.dim",
    "aten.squeeze.dims",
    "aten.t.default",
    "aten.transpose.int",
    "aten.unfold.default",
    "aten.unsqueeze.default",
    "aten.view.default",
    "aten._unsafe_view.default",
    "aten.view_as_real.default",
    "aten.view_as_complex.default",
    "aten._conj.default",
    "aten._conj_physical.default",
    "aten._neg_view.default",
    "aten.split_with_sizes.default",
    "aten.split.Tensor",
    "aten.unbind.int",
    "aten.tril.default",
    "aten.triu.default",
    "aten.diag_embed.default",
    "aten.im2col.default",
    "aten.col2im.default",
    "aten.pixel_shuffle.default",
    "aten.pixel_unshuffle.default",
    "aten.channel_shuffle.default",
]

SUMS = [
    "aten.neg.default",
    "aten.sum.default",
    "aten.sum.dim_IntList",
    "aten.mean.default",
    "aten.mean.dim",
    "aten.nansum.default",
    "aten.cumsum.default",
    "aten.trace.default",
    "aten._fft_c2c.default",
    "aten._fft_c2r.default",
    "aten._fft_r2c.default",
]

POOLS = [f"aten.avg_pool{n}d.default" for n in (1, 2, 3)] + [
    f"aten.{prefix}adaptive_avg_pool{n}d.default"
    for prefix in ("", "_")
    for n in (1, 2, 3)
    if (prefix, n) != ("_", 1)
]

PADS = [
    "aten._pad_circular.default",
    *(f"aten.{kind}_pad{n}d.default" for kind in ("reflection", "replication") for n in (1, 2, 3)),
]

RESAMPLERS = [
    f"aten.upsample_{kind}.{overload}"
    for kind in (
        "nearest1d",
        "nearest2d",
        "nearest3d",
        "linear1d",
        "bilinear2d",
        "trilinear3d",
        "bicubic2d",
    )
    for overload in ("default", "vec")
]
RESAMPLERS += [
    f"aten._upsample_nearest_exact{n}d.{o}" for n in (1, 2, 3) for o in ("default", "vec")
]
RESAMPLERS += [f"aten._upsample_{kind}2d_aa.default" for kind in ("bilinear", "bicubic")]


@register_rule(VIEWS + SUMS + POOLS + PADS + RESAMPLERS)
def _linear(self: Any, /, *_: Any, **__: Any) -> Any:
    """Linear in the first argument; several results move like it."""
    return linear(self)


EXACT = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.complex64,
    torch.complex128,
)


@register_rule("aten._to_copy.default")
def _cast(self: Any, *, dtype: torch.dtype | None = None, **_: Any) -> Motion:
    """Linear up to rounding between floating dtypes; signs and constants survive any cast."""
    if dtype is None or dtype in EXACT:
        return linear(self)
    if dtype == torch.bool:
        return homogeneous(self, 0)
    return Unknown(f"a cast to {dtype}, which truncates", "stay in a floating dtype")


@register_rule("aten.dropout.default")
def _dropout(input: Any, p: float, train: bool | None) -> Motion:
    """The identity in evaluation mode."""
    if train is False or p == 0:
        return motion_of(input)
    return Unknown("dropout is active, so the output is random", "call model.eval()")


@register_rule("aten.native_dropout.default")
def _native_dropout(input: Any, p: float, train: bool | None) -> tuple[Motion, Motion]:
    """The output of dropout, and a mask."""
    return _dropout(input, p, train), FIXED


@register_rule(["aten.var.dim", "aten.var.correction", "aten.var.default"])
def _variance(self: Any, *_: Any, **__: Any) -> Motion:
    """Degree 2."""
    return homogeneous(self, 2)


@register_rule("aten.var_mean.correction")
def _variance_and_mean(self: Any, *_: Any, **__: Any) -> tuple[Motion, Motion]:
    """Degree 2; and linear."""
    return homogeneous(self, 2), linear(self)


@register_rule(["aten.std.dim", "aten.std.correction", "aten.std.default"])
def _deviation(self: Any, *_: Any, **__: Any) -> Motion:
    """Degree 1."""
    return homogeneous(self)


@register_rule("aten.prod.default")
def _product(self: Any, **_: Any) -> Motion:
    """Degree times the number of factors."""
    return _power_of_size(self, self.fake.numel())


@register_rule("aten.prod.dim_int")
def _product_along(self: Any, dim: int, keepdim: bool = False, **_: Any) -> Motion:
    """Degree times the number of factors."""
    del keepdim
    return _power_of_size(self, self.fake.shape[dim] if self.dim else 1)


def _power_of_size(self: Operand, size: Any) -> Motion:
    if is_constant(self.motion):
        return self.motion
    if not isinstance(size, int):
        return Unknown("a product of as many factors as the batch is large")
    return self.motion if size == 1 else homogeneous(self, Fraction(size))


@register_rule(["aten.linalg_vector_norm.default"])
def _norm(self: Any, ord: float = 2, *_: Any, **__: Any) -> Motion:
    """Degree 1; the 0-norm counts and does not move."""
    return homogeneous(self, 0 if ord == 0 else 1)
