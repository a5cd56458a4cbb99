"""Sums and tensors put together from parts: equal motions pass, zero is neutral."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_xdnn.proof.batch_dim import BatchDim, BatchedCall, rank_of
from captum_xdnn.proof.domain import FIXED, Motion, Unknown
from captum_xdnn.proof.laws import added, constant, homogeneous, merged, shared, switched
from captum_xdnn.proof.operand import Bound, Operand, motion_of
from captum_xdnn.proof.registry import LINEAR, know, law
from captum_xdnn.proof.row_laws import before_last, entrywise, padded, sliced
from captum_xdnn.proof.rules.by_law import of_two


@law("add.Tensor add.Scalar sub.Tensor sub.Scalar", rows=entrywise, pieces=LINEAR)
def _add(self: Any, other: Any, alpha: Any = 1) -> Motion:
    """``self +- alpha other``."""
    return added(self, 0 if alpha == 0 else other)


@law("rsub.Tensor rsub.Scalar", rows=entrywise, pieces=LINEAR)
def _rsub(self: Any, other: Any, alpha: Any = 1) -> Motion:
    """``other - alpha self``."""
    return added(other, 0 if alpha == 0 else self)


def joined(call: BatchedCall) -> BatchDim | None:
    """Tensors with rows at one place, along another dimension."""
    state = call.common()
    dim = call["dim"] % len(call.shape)
    if len(call.shape) > rank_of(call.batched[0][0]):  # stack
        return state.at(state.dim + (dim <= state.dim))
    return state if dim != state.dim else None


@law("cat stack", rows=joined, pieces=LINEAR)
@law("block_diag", rows="the rows of each stand beside zeros of their own", pieces=LINEAR)
def _cat(tensors: list[Any], *_: Any) -> Motion:
    """Parts side by side."""
    return merged(tensors)


@law("where.self", rows=entrywise, pieces=LINEAR)
def _where(condition: Any, self: Any, other: Any) -> Motion:
    """Each entry from one of two parts."""
    return switched(condition, self, other)


@law("masked_fill.Scalar", rows=entrywise, pieces=LINEAR)
@law("masked_fill.Tensor")
@law("masked_scatter", rows="entries are taken one after the other, whichever row they are of")
def _masked(self: Any, mask: Any, source: Any, /) -> Motion:
    """Each entry kept or replaced."""
    return switched(mask, self, source)


@law("put", rows="a flat index may name any row")
def _put(self: Any, index: Any, source: Any, _accumulate: bool = False, /) -> Motion:
    """Parts put, or added, at a flat index."""
    return switched(index, self, source)


def selected(call: BatchedCall) -> BatchDim | None:
    """Into a dimension that does not hold the batch."""
    state = call.state(call.data)
    if len(call.batched) < 2 or not isinstance(state, BatchDim):
        return None
    dim = call["dim"] % rank_of(call.data)
    part = state.at(state.dim - (dim < state.dim))
    return state if dim != state.dim and call.state(call["src"]) == part else None


FOLLOWED = "none has been needed: torch's own views are followed instead"
# A part overwritten by another, at a fixed place.
of_two("select_scatter", added, rows=selected, pieces=LINEAR)
of_two("slice_scatter", added, rows=sliced, pieces=LINEAR)
of_two("diagonal_scatter", added, rows=FOLLOWED)
of_two("as_strided_scatter", added, rows="where it writes is a matter of the whole storage")


def put(call: BatchedCall) -> BatchDim | None:
    """Parts put along a dimension beside the batch, by an index with their rows or a list that all share."""
    data, index = call.data, call["index"]
    is_list = rank_of(index) == 1 < rank_of(data)  # what index_add takes
    places = {state for _, state in call.batched}
    others = [(n, s) for n, s in call.unbatched if not (is_list and n is index)]
    if len(places) != 1 or (is_list and isinstance(call.state(index), BatchDim)):
        return None
    place = places.pop()
    alike = all(place.dim in s.uniform and call.is_whole(n, place) for n, s in others)
    return place if alike and call["dim"] % rank_of(data) != place.dim else None


def _unscattered(shape: tuple[int, ...], dim: int, index: Tensor) -> Tensor:
    """The entries that ``scatter`` does not write."""
    left = torch.ones(shape, dtype=torch.bool, device=index.device)
    return left.scatter_(dim, index, False)


def _unindexed(shape: tuple[int, ...], given: tuple[bool, ...], *indices: Tensor) -> Tensor:
    """The entries that ``index_put`` does not write, by indices of some dimensions."""
    left = torch.ones(shape, dtype=torch.bool, device=indices[0].device)
    rest = iter(indices)
    left[tuple(next(rest) if each else slice(None) for each in given)] = False
    return left


def _covers(self: Any, left: Callable[..., Tensor], how: Any, *indices: Any) -> bool:
    """Whether an operation that leaves these entries leaves none of its first argument."""
    if not all(isinstance(index, Operand) and index.motion == FIXED for index in indices):
        return False
    first, *others = indices
    return bool(first.vanishes(Bound(left, (tuple(self.fake.shape), how)), *others))


def _all_scattered(self: Any, dim: int, index: Any, *_: Any) -> bool:
    return _covers(self, _unscattered, dim, index)


def _all_indexed(
    self: Any, indices: list[Any], _values: Any, accumulate: bool = False, *_: Any
) -> bool:
    given = tuple(index is not None for index in indices)
    real = [index for index in indices if index is not None]
    return bool(real) and not accumulate and _covers(self, _unindexed, given, *real)


know("scatter.src scatter.value", covers=_all_scattered)
know("index_put", covers=_all_indexed)


@law("scatter.src scatter.value scatter_add index_add", rows=put)
@law("index_copy index_fill.int_Scalar index_fill.int_Tensor", rows=put)
def _scatter(self: Any, _dim: int, index: Any, src: Any, /, *, alpha: Any = 1) -> Motion:
    """Parts put, or added, where an index says."""
    return switched(index, self, 0 if alpha == 0 else src)


@law("index_put _unsafe_index_put", rows="its indices may name any row")
def _index_put(self: Any, indices: list[Any], values: Any, *_: Any) -> Motion:
    """Parts put, or added, where indices say."""
    return switched(shared(*(index for index in indices if index is not None)), self, values)


@law("scatter_reduce.two index_reduce", rows=put)
def _scatter_reduce(self: Any, _dim: int, index: Any, src: Any, reduce: str, /, **_: Any) -> Motion:
    """Sums and means are linear, extremes homogeneous; products have no one degree."""
    if reduce in ("sum", "mean"):
        return switched(index, self, src)
    if reduce in ("amax", "amin"):
        return switched(index, shared(self, src))
    return Unknown("a product of as many factors as an index says")


@law("segment_reduce", rows="which rows are in a segment, its lengths say")
def _segment_reduce(
    data: Any, reduce: str, *, lengths: Any = None, initial: Any = None, **others: Any
) -> Motion:
    """As of a scatter, over consecutive parts."""
    places = next(p for p in (lengths, *others.values()) if isinstance(p, Operand))
    start = 0 if initial is None else initial
    if reduce in ("sum", "mean"):
        return switched(places, data, start)
    if reduce in ("max", "min"):
        return switched(places, shared(data, start))
    return Unknown("a product of as many factors as a segment is long")


@law("bincount", rows="it counts the entries of all rows")
def _bincount(self: Any, weights: Any = None, _minlength: int = 0, /) -> Motion:
    """How often each number is there; sums of weights."""
    return motion_of(self) if weights is None else switched(self, weights)


@law("fill.Scalar fill.Tensor copy", rows=entrywise, overwrites=0)
def _fill(_self: Any, value: Any, /, *_: Any) -> Motion:
    """The old content is gone."""
    return merged((value,))


@law("constant_pad_nd", rows=padded, pieces=LINEAR)
def _pad(self: Any, _pad: Any, /, value: Any = 0) -> Motion:
    """The tensor beside a constant."""
    return merged((self, value))


@law("mse_loss", rows=entrywise)
def _squared_difference(self: Any, target: Any, *_: Any) -> Motion:
    """Squares of differences, or their mean or sum."""
    return homogeneous(added(self, target), 2)


def distances(call: BatchedCall) -> BatchDim | None:
    """Of each point of the first set, which is of a row, to all of the second, which all rows share."""
    state = before_last(call)
    place = 0 if state is None else state.dim - rank_of(call.data)
    shared_by_all = all(
        rank_of(n) <= 2 or -place > rank_of(n) or n.value.shape[place] == 1
        for n, _ in call.unbatched
    )
    return state if shared_by_all else None


@law("_cdist_forward", rows=distances)
def _cdist(x1: Any, x2: Any, p: float, *_: Any) -> Motion:
    """p-norms of differences: degree 1 in both together, except p = 0, which counts."""
    return constant(x1, x2) if p == 0 else shared(x1, x2)


know("cdist", rows=distances)


@law("dist", rows="it sums over all entries")
def _distance(self: Any, other: Any, p: float = 2) -> Motion:
    """See above."""
    return _cdist(self, other, p)


@law("_pdist_forward", rows="the distances are those between rows")
def _pdist(self: Any, p: float = 2) -> Motion:
    """See cdist."""
    return _cdist(self, 0, p)
