"""Reading entries: linear in what is read while the index does not move."""

from typing import Any

from captum_xdnn.proof.batch_dim import BatchDim, BatchedCall, Unbatched, rank_of
from captum_xdnn.proof.domain import FIXED, Motion, Unknown, is_constant
from captum_xdnn.proof.laws import constant, homogeneous, linear, product, shared, switched
from captum_xdnn.proof.operand import motion_of
from captum_xdnn.proof.registry import LINEAR, know, law
from captum_xdnn.proof.row_laws import along, beside, images
from captum_xdnn.proof.rules.by_law import of_degree, of_two

PLACES = Unknown(
    "the places of sampling are computed from the input",
    "sample at places that do not depend on the input",
)
ANY_ROW = "which entries are read, and how many, is not a matter of each row"


def indexed(call: BatchedCall) -> BatchDim | None:
    """By shared indices in dimensions beside the batch."""
    state = call.lone()
    given = [(i, index) for i, index in enumerate(call["indices"]) if index is not None]
    places = [i for i, _ in given]
    masks = any(not index.value.dtype.is_signed for _, index in given)
    if state.dim in places or masks or not places:
        return None
    rank = max(rank_of(index) for _, index in given)
    before = sum(i < state.dim for i in places)
    if places == list(range(places[0], places[-1] + 1)):
        return state if state.dim < places[0] else state.at(state.dim - len(places) + rank)
    return state.at(state.dim - before + rank)


@law("index.Tensor", rows=indexed, pieces=LINEAR)
@law("_unsafe_index.Tensor", rows=indexed)
def _index(self: Any, indices: list[Any]) -> Motion:
    """Entries at several indices."""
    return switched(shared(*(index for index in indices if index is not None)), self)


@law("index_select", rows=along, pieces=LINEAR)
@law("gather", rows=beside, pieces=LINEAR)
def _select(self: Any, _dim: int, index: Any, /, **_: Any) -> Motion:
    """Entries at an index."""
    return switched(index, self)


def embedded(call: BatchedCall) -> BatchDim | None:
    """Rows of the indices; the table has none."""
    state = call.state(call["indices"])
    alone = isinstance(call.state(call["weight"]), Unbatched)
    return state if alone and isinstance(state, BatchDim) else None


@law("embedding", rows=embedded)
@law("take", rows="a flat index may name any row")
@law("masked_select", rows=ANY_ROW)
@law("max_unpool2d max_unpool3d", rows=images)
def _read(self: Any, index: Any, /, *_: Any, **__: Any) -> Motion:
    """Entries at an index or under a mask, of which as many are read all along the ray."""
    return switched(index, self)


@law("_embedding_bag _embedding_bag_forward_only", rows="which rows are in a bag, its offsets say")
def _bag(
    weight: Any,
    indices: Any,
    offsets: Any,
    _scaled: Any = False,
    mode: int = 0,
    _sparse: Any = False,
    factors: Any = None,
    /,
    *_: Any,
) -> tuple[Motion, ...]:
    """Sums of entries, each times a factor, means or maxima; and what is kept for the way back."""
    summed = product(weight, 1 if factors is None else factors)
    found = (summed, linear(weight), homogeneous(weight))[mode]
    which = constant(weight) if mode == 2 else FIXED
    return tuple(switched(indices, switched(offsets, m)) for m in (found, FIXED, FIXED, which))


@law("grid_sampler_2d grid_sampler_3d", rows=images)
def _grid_sample(input: Any, grid: Any, *_: Any, **__: Any) -> Motion:
    """Linear in the image while the grid does not move."""
    place = motion_of(grid)
    return switched(place, input) if is_constant(place) else PLACES


@law("cudnn_grid_sampler", rows=images)
def _grid_sample_by_cudnn(self: Any, grid: Any) -> Motion:
    """See above; ``F.grid_sample`` with ``align_corners=True`` on a GPU."""
    return _grid_sample(self, grid)


def ordered(call: BatchedCall) -> BatchDim | None:
    """Each entry by itself, among bounds that all rows share in one list."""
    data = call["input"] or call["self"]
    bounds = call["boundaries"] or call["sorted_sequence"]
    state = call.state(data)
    shared_list = rank_of(bounds) == 1 and isinstance(call.state(bounds), Unbatched)
    return state if shared_list and len(call.batched) == 1 and isinstance(state, BatchDim) else None


of_two("bucketize.Tensor searchsorted.Tensor", constant, rows=ordered)
of_degree("nonzero", 0, rows=ANY_ROW)  # where entries are zero stays
of_degree("any any.dim any.dims all all.dim all.dims", 0, rows=along)
of_degree("count_nonzero count_nonzero.dim_IntList", 0, rows=along)
ANY_OF = "an entry is looked for among those of all rows"
of_two("isin.Tensor_Tensor isin.Tensor_Scalar isin.Scalar_Tensor", constant, rows=ANY_OF)


def scored(call: BatchedCall) -> BatchDim | None:
    """A loss for each example, without a mean."""
    place = BatchDim(0)
    batched = rank_of(call.data) > 1 and call["reduction"] == 0
    both = [call.data, call["target"]]
    apart = all(call.state(each) == place for each in both)
    return place if batched and apart and all(n in both for n, _ in call.batched) else None


know("nll_loss nll_loss_nd cross_entropy_loss", rows=scored)


@law("nll_loss_forward nll_loss2d_forward", rows=scored)
def _picked(self: Any, target: Any, weight: Any, *_: Any) -> tuple[Motion, Motion]:
    """Entries at an index times weights, which must not move, or a mean of them; and the weights' sum."""
    weights = 1 if weight is None else weight
    if not is_constant(motion_of(weights)):
        return Unknown("weights of classes that move"), motion_of(weights)
    return switched(target, product(self, weights)), switched(target, weights)
