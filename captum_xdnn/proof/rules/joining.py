"""Sums and tensors put together from parts: equal motions pass, zero is neutral."""

from __future__ import annotations

from typing import Any

from captum_xdnn.proof.domain import Motion, Unknown
from captum_xdnn.proof.laws import added, constant, merged, shared, switched
from captum_xdnn.proof.registry import register_rule

SUMS = ["aten.add.Tensor", "aten.add.Scalar", "aten.sub.Tensor", "aten.sub.Scalar"]
REVERSED = ["aten.rsub.Tensor", "aten.rsub.Scalar"]


@register_rule(SUMS)
def _add(self: Any, other: Any, alpha: Any = 1) -> Motion:
    """``self +- alpha other``."""
    return added(self, 0 if alpha == 0 else other)


@register_rule(REVERSED)
def _rsub(self: Any, other: Any, alpha: Any = 1) -> Motion:
    """``other - alpha self``."""
    return added(other, 0 if alpha == 0 else self)


@register_rule(["aten.cat.default", "aten.stack.default"])
def _cat(tensors: list[Any], dim: int = 0) -> Motion:
    """Parts side by side."""
    del dim
    return merged(tensors)


@register_rule("aten.where.self")
def _where(condition: Any, self: Any, other: Any) -> Motion:
    """Each entry from one of two parts."""
    return switched(condition, self, other)


@register_rule(["aten.masked_fill.Scalar", "aten.masked_fill.Tensor"])
def _masked_fill(self: Any, mask: Any, value: Any) -> Motion:
    """Each entry kept or replaced."""
    return switched(mask, self, value)


@register_rule("aten.masked_scatter.default")
def _masked_scatter(self: Any, mask: Any, source: Any) -> Motion:
    """Each entry kept or taken from the source."""
    return switched(mask, self, source)


@register_rule(
    [
        "aten.select_scatter.default",
        "aten.slice_scatter.default",
        "aten.diagonal_scatter.default",
        "aten.as_strided_scatter.default",
    ]
)
def _embed(self: Any, src: Any, *_: Any, **__: Any) -> Motion:
    """A part overwritten by another, at a fixed place."""
    return merged((self, src))


@register_rule(
    ["aten.scatter.src", "aten.scatter.value", "aten.scatter_add.default", "aten.index_add.default"]
)
def _scatter(self: Any, dim: int, index: Any, src: Any, /, *, alpha: Any = 1) -> Motion:
    """Parts put, or added, where an index says."""
    del dim
    return switched(index, self, 0 if alpha == 0 else src)


@register_rule(["aten.index_put.default", "aten._unsafe_index_put.default"])
def _index_put(self: Any, indices: list[Any], values: Any, accumulate: bool = False) -> Motion:
    """Parts put, or added, where indices say."""
    del accumulate
    return switched(shared(*(index for index in indices if index is not None)), self, values)


@register_rule("aten.scatter_reduce.two")
def _scatter_reduce(
    self: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True
) -> Motion:
    """Sums and means are linear, extremes homogeneous; products have no one degree."""
    del dim, include_self
    if reduce in ("sum", "mean"):
        return switched(index, self, src)
    if reduce in ("amax", "amin"):
        return switched(index, shared(self, src))
    return Unknown("a product of as many factors as an index says")


@register_rule(["aten.fill.Scalar", "aten.fill.Tensor"])
def _fill(self: Any, value: Any) -> Motion:
    """The old content is gone."""
    del self
    return merged((value,))


@register_rule("aten.copy.default")
def _copy(self: Any, src: Any, non_blocking: bool = False) -> Motion:
    """The old content is gone."""
    del self, non_blocking
    return merged((src,))


@register_rule("aten.constant_pad_nd.default")
def _pad(self: Any, pad: Any, value: Any = 0) -> Motion:
    """The tensor beside a constant."""
    del pad
    return merged((self, value))


@register_rule("aten._cdist_forward.default")
def _cdist(x1: Any, x2: Any, p: float, compute_mode: int | None) -> Motion:
    """p-norms of differences: degree 1 in both together, except p = 0, which counts."""
    del compute_mode
    return constant(x1, x2) if p == 0 else shared(x1, x2)


@register_rule("aten._pdist_forward.default")
def _pdist(self: Any, p: float = 2) -> Motion:
    """See cdist."""
    return _cdist(self, 0, p, None)
