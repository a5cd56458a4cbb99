"""By order: extremes, sorting, max pooling. Values scale, positions do not move."""

from __future__ import annotations

from typing import Any

from captum_xdnn.proof.domain import Motion
from captum_xdnn.proof.laws import constant, homogeneous, linear, switched
from captum_xdnn.proof.registry import CHOICE, law
from captum_xdnn.proof.row_laws import along, images


def _along_one_entry(arguments: dict[str, Any]) -> bool:
    """Whether torch returns memory that it has not written: a median along an expanded dimension.

    So does torch on a CPU, 2.13 and 2.14 at least; its gradient is that of the right median.
    """
    info = arguments["self"].value
    stride = info.strides[arguments["dim"]] if info.strides else 1
    return bool(info.device.type in ("cpu", "meta") and stride == 0)


@law("amax amin max min", rows=along, pieces=CHOICE)
@law("median nanmedian", rows=along)
@law("max_pool1d max_pool2d max_pool3d", rows=images, pieces=CHOICE)
def _extreme(self: Any, *_: Any, **__: Any) -> Motion:
    """Positively homogeneous of degree 1."""
    return homogeneous(self)


@law("max.dim min.dim", rows=along, pieces=CHOICE)
@law("sort sort.stable topk mode kthvalue cummax cummin", rows=along)
@law("median.dim nanmedian.dim", rows=along, unwritten=_along_one_entry)
@law(
    "max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices",
    rows=images,
    pieces=CHOICE,
)
@law("adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d", rows=images, pieces=CHOICE)
def _with_positions(self: Any, *_: Any, **__: Any) -> tuple[Motion, Motion]:
    """Values of degree 1, positions that do not move."""
    return homogeneous(self), constant(self)


@law("fractional_max_pool2d fractional_max_pool3d", rows=images)
def _max_pool_at_places(
    self: Any, kernel_size: Any, output_size: Any, random_samples: Any
) -> tuple[Motion, Motion]:
    """Max pooling in windows whose places are given as numbers; these must not move."""
    del kernel_size, output_size
    return switched(random_samples, homogeneous(self)), switched(random_samples, constant(self))


@law("aminmax", rows=along)
def _extremes(self: Any, **_: Any) -> tuple[Motion, Motion]:
    """Both extremes, of degree 1."""
    return homogeneous(self), homogeneous(self)


@law("argmax argmin argsort", rows=along)
def _position(self: Any, *_: Any, **__: Any) -> Motion:
    """A positive scale keeps the order."""
    return constant(self)


@law("max_unpool2d", rows=images)
def _unpool(self: Any, indices: Any, *_: Any) -> Motion:
    """Values put back at their positions."""
    return switched(indices, linear(self))
