"""By order: extremes, sorting, max pooling. Values scale, positions do not move."""

from __future__ import annotations

from typing import Any

from captum_xdnn.proof.domain import Motion
from captum_xdnn.proof.laws import constant, homogeneous, linear, switched
from captum_xdnn.proof.registry import register_rule

POOLS = [f"aten.max_pool{n}d.default" for n in (1, 2, 3)]
POOLS_WITH_POSITIONS = [
    "aten.max_pool1d_with_indices.default",
    "aten.max_pool2d_with_indices.default",
    "aten.max_pool3d_with_indices.default",
    "aten.adaptive_max_pool1d.default",
    "aten.adaptive_max_pool2d.default",
    "aten.adaptive_max_pool3d.default",
]


@register_rule(
    [
        "aten.amax.default",
        "aten.amin.default",
        "aten.max.default",
        "aten.min.default",
        "aten.median.default",
        "aten.nanmedian.default",
        *POOLS,
    ]
)
def _extreme(self: Any, *_: Any, **__: Any) -> Motion:
    """Positively homogeneous of degree 1."""
    return homogeneous(self)


@register_rule(
    [
        "aten.max.dim",
        "aten.min.dim",
        "aten.sort.default",
        "aten.sort.stable",
        "aten.topk.default",
        "aten.median.dim",
        "aten.nanmedian.dim",
        "aten.mode.default",
        "aten.kthvalue.default",
        "aten.cummax.default",
        "aten.cummin.default",
        *POOLS_WITH_POSITIONS,
    ]
)
def _with_positions(self: Any, *_: Any, **__: Any) -> tuple[Motion, Motion]:
    """Values of degree 1, positions that do not move."""
    return homogeneous(self), constant(self)


@register_rule(["aten.fractional_max_pool2d.default", "aten.fractional_max_pool3d.default"])
def _max_pool_at_places(
    self: Any, kernel_size: Any, output_size: Any, random_samples: Any
) -> tuple[Motion, Motion]:
    """Max pooling in windows whose places are given as numbers; these must not move."""
    del kernel_size, output_size
    return switched(random_samples, homogeneous(self)), switched(random_samples, constant(self))


@register_rule(["aten.aminmax.default"])
def _extremes(self: Any, **_: Any) -> tuple[Motion, Motion]:
    """Both extremes, of degree 1."""
    return homogeneous(self), homogeneous(self)


@register_rule(["aten.argmax.default", "aten.argmin.default", "aten.argsort.default"])
def _position(self: Any, *_: Any, **__: Any) -> Motion:
    """A positive scale keeps the order."""
    return constant(self)


@register_rule("aten.max_unpool2d.default")
def _unpool(self: Any, indices: Any, *_: Any) -> Motion:
    """Values put back at their positions."""
    return switched(indices, linear(self))
