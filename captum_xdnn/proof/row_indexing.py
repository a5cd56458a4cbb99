"""Where the rows of a batch are behind views, joints and indices; see ``row_rules.py``."""

from __future__ import annotations

from captum_xdnn.proof.batch_dim import Meeting, Rows, Shared, rank_of
from captum_xdnn.proof.row_rules import rule


@rule("view reshape _unsafe_view flatten unflatten _reshape_alias")
def reshaped(meeting: Meeting) -> Rows | None:
    """The entries keep their order."""
    state = meeting.lone()
    if state is None or meeting["dtype"] is not None:  # view.dtype
        return None
    return meeting.reshaped(state)


@rule("permute transpose t unsqueeze")
def reordered(meeting: Meeting) -> Rows | None:
    """The batch goes where its dimension goes."""
    state = meeting.lone()
    if state is None:
        return None
    rank = rank_of(meeting.data)
    if meeting["dims"] is not None:
        return state.at([d % rank for d in meeting["dims"]].index(state.dim))
    if "dim0" in meeting.arguments or set(meeting.arguments) == {"self"}:
        one, two = (0, 1) if meeting["dim0"] is None else (meeting["dim0"], meeting["dim1"])
        pair = (one % rank, two % rank) if rank > 1 else (0, 0)
        return state.at(pair[1 - pair.index(state.dim)]) if state.dim in pair else state
    return state.at(state.dim + (meeting["dim"] % (rank + 1) <= state.dim))


@rule("slice slice_scatter")
def sliced(meeting: Meeting) -> Rows | None:
    """Along a dimension without the batch, or all of it."""
    state = meeting.common()
    if state is None:
        return None
    end = meeting["end"]
    everything = meeting["start"] in (None, 0) and meeting["step"] in (None, 1)
    everything = everything and (end is None or end >= 2**62)
    apart = everything or meeting["dim"] % rank_of(meeting.data) != state.dim
    return state if apart else None


@rule("select_scatter")
def selected(meeting: Meeting) -> Rows | None:
    """Into a dimension that does not hold the batch."""
    state = meeting.state(meeting.data)
    if len(meeting.held) < 2 or not isinstance(state, Rows):
        return None
    dim = meeting["dim"] % rank_of(meeting.data)
    part = state.at(state.dim - (dim < state.dim))
    return state if dim != state.dim and meeting.state(meeting["src"]) == part else None


@rule("cat stack")
def joined(meeting: Meeting) -> Rows | None:
    """Tensors with rows at one place, along another dimension."""
    state = meeting.common()
    if state is None:
        return None
    dim = meeting["dim"] % len(meeting.shape)
    if len(meeting.shape) > rank_of(meeting.held[0][0]):  # stack
        return state.at(state.dim + (dim <= state.dim))
    return state if dim != state.dim else None


@rule("embedding")
def embedded(meeting: Meeting) -> Rows | None:
    """Rows of the indices; the table has none."""
    state = meeting.state(meeting["indices"])
    alone = isinstance(meeting.state(meeting["weight"]), Shared)
    return state if alone and isinstance(state, Rows) else None


@rule("index")
def indexed(meeting: Meeting) -> Rows | None:
    """By shared indices in dimensions beside the batch."""
    state = meeting.lone()
    if state is None:
        return None
    given = [(i, index) for i, index in enumerate(meeting["indices"]) if index is not None]
    places = [i for i, _ in given]
    masks = any(not index.value.dtype.is_signed for _, index in given)
    if state.dim in places or masks or not places:
        return None
    rank = max(rank_of(index) for _, index in given)
    before = sum(i < state.dim for i in places)
    if places == list(range(places[0], places[-1] + 1)):
        return state if state.dim < places[0] else state.at(state.dim - len(places) + rank)
    return state.at(state.dim - before + rank)


@rule("gather")
def gathered(meeting: Meeting) -> Rows | None:
    """Along a dimension beside the batch, by indices with the rows of the data."""
    state = meeting.common()
    apart = state is not None and meeting["dim"] % rank_of(meeting.data) != state.dim
    return state if apart else None


@rule("index_select")
def picked(meeting: Meeting) -> Rows | None:
    """The same entries of every row."""
    state = meeting.lone()
    apart = state is not None and meeting["dim"] % rank_of(meeting.data) != state.dim
    return state if apart else None


@rule("nll_loss nll_loss_forward nll_loss2d_forward nll_loss_nd cross_entropy_loss")
def scored(meeting: Meeting) -> Rows | None:
    """A loss for each example, without a mean."""
    place = Rows(0)
    batched = rank_of(meeting.data) > 1 and meeting["reduction"] == 0
    return place if batched and all(s == place for _, s in meeting.held) else None
