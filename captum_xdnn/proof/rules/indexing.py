"""Reading entries: linear in what is read while the index does not move."""

from __future__ import annotations

from typing import Any

from captum_xdnn.proof.domain import Motion, Unknown, is_constant
from captum_xdnn.proof.laws import constant, shared, switched
from captum_xdnn.proof.operand import motion_of
from captum_xdnn.proof.registry import register_rule


@register_rule(["aten.index.Tensor", "aten._unsafe_index.Tensor"])
def _index(self: Any, indices: list[Any]) -> Motion:
    """Entries at several indices."""
    return switched(shared(*(index for index in indices if index is not None)), self)


@register_rule(["aten.index_select.default", "aten.gather.default"])
def _select(self: Any, dim: int, index: Any, **_: Any) -> Motion:
    """Entries at an index."""
    del dim
    return switched(index, self)


@register_rule("aten.embedding.default")
def _embedding(weight: Any, indices: Any, *_: Any, **__: Any) -> Motion:
    """Rows of a table."""
    return switched(indices, weight)


@register_rule("aten.take.default")
def _take(self: Any, index: Any) -> Motion:
    """Entries at a flat index."""
    return switched(index, self)


@register_rule("aten.masked_select.default")
def _masked_select(self: Any, mask: Any) -> Motion:
    """Entries under a mask; how many does not change along the ray."""
    return switched(mask, self)


@register_rule("aten.nonzero.default")
def _nonzero(self: Any) -> Motion:
    """Where entries are zero does not change along the ray."""
    return constant(self)


@register_rule(["aten.grid_sampler_2d.default", "aten.grid_sampler_3d.default"])
def _grid_sample(input: Any, grid: Any, *_: Any, **__: Any) -> Motion:
    """Linear in the image while the grid does not move."""
    place = motion_of(grid)
    if is_constant(place):
        return switched(place, input)
    return Unknown(
        "the places of sampling are computed from the input",
        "sample at places that do not depend on the input",
    )


@register_rule(["aten.any.default", "aten.any.dim", "aten.any.dims"])
def _any(self: Any, *_: Any, **__: Any) -> Motion:
    """Which entries are zero does not change along the ray."""
    return constant(self)


@register_rule(["aten.all.default", "aten.all.dim", "aten.all.dims"])
def _all(self: Any, *_: Any, **__: Any) -> Motion:
    """Which entries are zero does not change along the ray."""
    return constant(self)


@register_rule(["aten.bucketize.Tensor", "aten.searchsorted.Tensor"])
def _search(first: Any, second: Any, /, *_: Any, **__: Any) -> Motion:
    """Order between tensors of equal degree."""
    return constant(first, second)
