"""Where an operation leaves the rows of a batch: what the families of ``rules/`` have in common.

Each takes the operation as a :class:`~captum_xdnn.proof.batch_dim.BatchedCall` and gives no place, or raises
``NoPlace``, where it proves nothing. Whether the result has the batch at the place that is given is looked at behind it.
"""

from functools import partial
from typing import Any

from captum_xdnn.proof.batch_dim import BatchDim, BatchedCall, rank_of
from captum_xdnn.recording.node import Node


def dims_of(given: Any, rank: int) -> set[int]:
    """Dimensions as non-negative numbers; all of them for None or an empty list."""
    if given is None or given in ((), []):
        return set(range(rank))
    return {d % max(rank, 1) for d in (given if isinstance(given, list | tuple) else [given])}


def entrywise(call: BatchedCall) -> BatchDim | None:
    """Entry by entry, with broadcasting: the rows of all stand at one place from the right."""
    return None if call["reduction"] else call.broadcast()


def along(call: BatchedCall) -> BatchDim | None:
    """Along dimensions that do not hold the batch; those of the result are dropped or kept."""
    if "other" in call.arguments:  # the pairwise overloads of max and min
        return entrywise(call)
    state, rank = call.lone(), rank_of(call.data)
    names = [n for n in ("dim", "dims", "dimension") if n in call.arguments]
    if len(call.shape) == rank and not names:
        return None
    return _without(dims_of(call[names[0]] if names else None, rank), state, call)


def squeezed(call: BatchedCall) -> BatchDim | None:
    """Without dimensions of one entry, of all or of those that are named."""
    shape = call.data.value.shape
    dims = {d for d in dims_of(call["dim"], len(shape)) if shape[d] == 1}
    return _without(dims, call.lone(), call)


def _without(dims: set[int], state: BatchDim, call: BatchedCall) -> BatchDim | None:
    if state.dim in dims:
        return None
    kept = len(call.shape) >= rank_of(call.data)
    return state if kept else state.at(state.dim - sum(d < state.dim for d in dims))


def before(call: BatchedCall, last: int) -> BatchDim | None:
    """Of so many last dimensions of the data, with what all rows share."""
    state = call.lone()
    return state if state.dim < rank_of(call.data) - last else None


before_last, before_last_two, before_last_three = (partial(before, last=n) for n in (1, 2, 3))


def images(call: BatchedCall) -> BatchDim | None:
    """Layers on batches of channels: the batch comes first; what is shared has no batch of its own."""
    return comes_first(call, [n for n, _ in call.unbatched if rank_of(n) > 2])


def comes_first(call: BatchedCall, others: list[Node]) -> BatchDim | None:
    """The batch comes first in all that has rows, and the others have one entry there."""
    if type(call.data) is not Node or rank_of(call.data) < 3:
        return None
    places = {state for _, state in call.batched}
    # A factor for each channel has no rows, though there may be as many channels.
    apart = all(rank_of(node) > 2 for node, _ in call.batched) and all(
        node.value.shape[0] == 1 for node in others
    )
    if len(places) != 1 or not apart or (place := places.pop()).dim != 0:
        return None
    return place


def beside(call: BatchedCall) -> BatchDim | None:
    """Along ``dim``, which does not hold the batch, in tensors that all have rows at one place."""
    state = call.common()
    return state if call["dim"] % rank_of(call.data) != state.dim else None


def reshaped(call: BatchedCall) -> BatchDim | None:
    """The entries keep their order."""
    return None if call["dtype"] is not None else call.reshaped(call.lone())  # view.dtype


def sliced(call: BatchedCall) -> BatchDim | None:
    """Along a dimension without the batch, or all of it."""
    state = call.common()
    end = call["end"]
    everything = call["start"] in (None, 0) and call["step"] in (None, 1)
    everything = everything and (end is None or end >= 2**62)
    apart = everything or call["dim"] % rank_of(call.data) != state.dim
    return state if apart else None


def padded(call: BatchedCall) -> BatchDim | None:
    """Of the last dimensions, two numbers for each."""
    pad = call["pad"] or call["padding"]
    return None if pad is None else before(call, len(pad) // 2)
