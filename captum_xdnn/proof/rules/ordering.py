"""By order: extremes, sorting, max pooling. Values scale, positions do not move."""

from typing import Any

from captum_xdnn.proof.batch_dim import BatchDim, BatchedCall, rank_of
from captum_xdnn.proof.domain import Motion, Unknown
from captum_xdnn.proof.laws import constant, homogeneous, switched
from captum_xdnn.proof.registry import CHOICE, law
from captum_xdnn.proof.row_laws import along, dims_of, images
from captum_xdnn.proof.rules.by_law import of_degree
from captum_xdnn.recording.node import Node


def _along_one_entry(arguments: dict[str, Any]) -> bool:
    """Whether torch returns memory that it has not written: a median along an expanded dimension.

    So does torch on a CPU, 2.13 and 2.14 at least; its gradient is that of the right median.
    """
    info = arguments["self"].value
    stride = info.strides[arguments["dim"]] if info.strides else 1
    return bool(info.device.type in ("cpu", "meta") and stride == 0)


of_degree("amax amin max min", 1, rows=along, pieces=CHOICE)
of_degree("median nanmedian", 1, rows=along)
of_degree("max_pool1d max_pool2d max_pool3d", 1, rows=images, pieces=CHOICE)
of_degree("aminmax", 1, 1, rows=along)
of_degree("argmax argmin argsort", 0, rows=along)
of_degree("max.dim min.dim", 1, 0, rows=along, pieces=CHOICE)
of_degree("sort sort.stable topk mode kthvalue cummax cummin", 1, 0, rows=along)
of_degree("median.dim nanmedian.dim", 1, 0, rows=along, unwritten=_along_one_entry)
WITH_PLACES = (
    "max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool1d "
    "adaptive_max_pool2d adaptive_max_pool3d"
)
of_degree(WITH_PLACES, 1, 0, rows=images, pieces=CHOICE)


@law("histc", rows="it counts the entries of all rows")
def _counted(self: Any, bins: int = 100, min: Any = 0, max: Any = 0) -> Motion:
    """How many entries lie in each part of their own range, however many parts."""
    del bins
    if min == max == 0:
        return constant(self)
    return Unknown("a count between bounds that do not move", "leave the bounds out")


def _of_quantiles(call: BatchedCall) -> BatchDim | None:
    """Along a dimension; several quantiles are the first of the result."""
    state, dims = call.lone(), dims_of(call["dim"], rank_of(call.data))
    if state.dim in dims:
        return None
    several = rank_of(call["q"]) if isinstance(call["q"], Node) else 0
    dropped = 0 if call["keepdim"] else sum(d < state.dim for d in dims)
    return state.at(state.dim - dropped + several)


@law("quantile quantile.scalar nanquantile nanquantile.scalar", rows=_of_quantiles)
def _quantile(self: Any, q: Any, /, *_: Any, **__: Any) -> Motion:
    """Between two entries, at shares that must not move."""
    return switched(q, homogeneous(self))


@law("fractional_max_pool2d fractional_max_pool3d", rows=images)
def _max_pool_at_places(self: Any, _kernel: Any, _size: Any, places: Any, /) -> Any:
    """Max pooling in windows whose places are given as numbers; these must not move."""
    return switched(places, homogeneous(self)), switched(places, constant(self))
