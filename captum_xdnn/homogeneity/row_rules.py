"""Which operations keep the rows of a batch apart; a rule says no where it proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.fx import Node

from captum_xdnn.homogeneity.row_domain import SHARED, Operation, Rows, rank_of

Rule = Callable[[Operation], bool]
RULES: dict[str, Rule] = {}
"""For each operation, by name without its overload, whether it keeps rows apart."""

FRESH = {"new_zeros", "new_ones", "new_full"}
"""Operations that take nothing but the dtype and device of the tensor they are given."""
CONSTANT = FRESH | {"full", "zeros", "ones", "expand", "repeat", "scalar_tensor"}
"""Operations that put one and the same entry into every row of a new batch."""
RESHAPING = {"view", "reshape", "_unsafe_view", "flatten", "unflatten"}
"""Operations that keep the entries in order and change the dimensions alone."""


def rule(names: str) -> Callable[[Rule], Rule]:
    """Enter a rule for operations, named without namespace and overload."""

    def enter(function: Rule) -> Rule:
        repeated = [name for name in names.split() if name in RULES]
        if repeated:
            message = f"these operations have a rule already: {', '.join(repeated)}"
            raise ValueError(message)
        RULES.update(dict.fromkeys(names.split(), function))
        return function

    return enter


def dims_of(given: Any, rank: int) -> set[int]:
    """Dimensions as non-negative numbers; all of them for None or an empty list."""
    if given is None or given == []:
        return set(range(rank))
    return {d % max(rank, 1) for d in (given if isinstance(given, list | tuple) else [given])}


@rule(
    "add sub mul div where clone _to_copy alias detach lift_fresh_copy fill zeros_like ones_like "
    "full_like clamp clamp_min clamp_max masked_fill contiguous copy hardtanh prelu _prelu_kernel "
    "leaky_relu mse_loss smooth_l1_loss huber_loss binary_cross_entropy celu selu elu relu6 "
    "binary_cross_entropy_with_logits softplus hardsigmoid hardswish softshrink hardshrink silu "
    "mish gelu log_sigmoid_forward threshold square maximum minimum relu expand"
)
def pointwise(operation: Operation) -> bool:
    """Entry by entry, with broadcasting: the rows of all stand at one place from the right."""
    wanted = (len(operation.shape) - operation.place.dim, operation.place.width)
    places = {(rank_of(node) - state.dim, state.width) for node, state in operation.held}
    counted = "size" not in operation.arguments and operation.counts_rows()
    return places == {wanted} and not counted and not operation["reduction"]


@rule(
    "softmax _softmax _safe_softmax log_softmax _log_softmax sum mean amax amin argmax argmin "
    "aminmax cumsum cumprod cummax cummin logcumsumexp sort topk kthvalue median nanmedian mode "
    "prod var std var_mean std_mean logsumexp any all norm linalg_vector_norm nansum flip roll glu "
    "select unbind split split_with_sizes chunk unsafe_split unsafe_split_with_sizes argsort "
    "squeeze max min count_nonzero"
)
def along(operation: Operation) -> bool:
    """Along dimensions that do not hold the batch."""
    if "other" in operation.arguments:  # the pairwise overloads of max and min
        return pointwise(operation)
    state = operation.lone()
    names = [n for n in ("dim", "dims") if n in operation.arguments]
    if state is None or not names or operation.counts_rows():
        return False
    return state.dim not in dims_of(operation[names[0]], rank_of(operation.data))


@rule(
    "max_pool1d max_pool2d max_pool3d "
    "max_pool2d_with_indices max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d "
    "_adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d "
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d "
    "upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d _upsample_bilinear2d_aa "
    "_upsample_bicubic2d_aa channel_shuffle native_group_norm group_norm grid_sampler_2d "
    "grid_sampler_3d"
)
def images(operation: Operation) -> bool:
    """Layers on batches of channels: the batch comes first."""
    return _comes_first(operation)


@rule("batch_norm _native_batch_norm_legit_no_training")
def normed_by_channel(operation: Operation) -> bool:
    """With constants, not with what the batch has in common."""
    state = operation.lone()
    return state is not None and state.dim == 0 and not operation["training"]


@rule("convolution conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d")
def convolved(operation: Operation) -> bool:
    """The batch comes first; without a batch the data has one dimension less than the weight."""
    kernel = operation["weight"]
    lone = operation.lone() is not None and rank_of(kernel) == rank_of(operation.data)
    return lone and _comes_first(operation)


def _comes_first(operation: Operation) -> bool:
    place = operation.place
    if not isinstance(operation.data, Node) or rank_of(operation.data) < 3:
        return False
    return place.dim == 0 and all(state == place for _, state in operation.held)


@rule("_native_batch_norm_legit")
def normed_in_channels(operation: Operation) -> bool:
    """With what each channel has in common, where the channels of all rows stand in one dimension."""
    data = operation.state(operation.data)
    if not isinstance(data, Rows) or data.dim != 1:
        return False
    of_channels = Rows(0, data.width, data.outer)
    return all(s == of_channels for node, s in operation.held if node is not operation.data)


@rule("pixel_shuffle pixel_unshuffle")
def shuffled(operation: Operation) -> bool:
    """Of the last three dimensions."""
    state = operation.lone()
    return state is not None and state.dim < rank_of(operation.data) - 3


@rule("layer_norm native_layer_norm rms_norm _fused_rms_norm")
def normed(operation: Operation) -> bool:
    """Over the last dimensions."""
    state = operation.lone()
    outer = rank_of(operation.data) - len(operation["normalized_shape"])
    return state is not None and state.dim < outer


@rule(
    "constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d "
    "replication_pad2d replication_pad3d"
)
def padded(operation: Operation) -> bool:
    """Of the last dimensions, two numbers for each."""
    state, pad = operation.lone(), operation["pad"] or operation["padding"]
    if state is None or pad is None or operation.counts_rows():
        return False
    return state.dim < rank_of(operation.data) - len(pad) // 2


@rule("_cdist_forward cdist")
def distances(operation: Operation) -> bool:
    """From each row to points that all rows share."""
    state = operation.lone()
    return state is not None and state.dim < rank_of(operation.data) - 1


@rule("linear")
def linear(operation: Operation) -> bool:
    """Over the last dimension of the data."""
    state = operation.lone()
    return state is not None and state.dim < rank_of(operation.data) - 1


@rule("mm bmm matmul addmm baddbmm")
def products(operation: Operation) -> bool:
    """Of matrices or batches of them: rows in a dimension that is not summed over."""
    pairs = (("mat1", "mat2"), ("batch1", "batch2"), ("self", "other"), ("self", "mat2"))
    left, right = next(pair for pair in pairs if set(pair) <= operation.arguments.keys())
    factors = (operation[left], operation[right])
    if any(rank_of(factor) < 2 for factor in factors):
        return False
    places = set()
    for factor, summed in zip(factors, (1, 2), strict=True):
        state = operation.state(factor)
        if isinstance(state, Rows):
            if rank_of(factor) - state.dim == summed:
                return False
            places.add((rank_of(factor) - state.dim, state.width))
    if places != {(len(operation.shape) - operation.place.dim, operation.place.width)}:
        return False
    if operation.counts_rows():
        return False
    both = all(isinstance(operation.state(factor), Rows) for factor in factors)
    if both and operation.place.dim >= len(operation.shape) - 2:
        return False
    return all(node in factors for node, _ in operation.held)


@rule("view reshape _unsafe_view flatten unflatten")
def reshaped(operation: Operation) -> bool:
    """The entries keep their order; how they are counted is in the place of the result."""
    return operation.lone() is not None and operation["dtype"] is None  # view.dtype


@rule("permute transpose t movedim unsqueeze")
def reordered(operation: Operation) -> bool:
    """The batch goes where its dimension goes; the symbolic shape says where."""
    return operation.lone() is not None


@rule("slice slice_scatter")
def sliced(operation: Operation) -> bool:
    """Along a dimension without the batch, or all of it."""
    state = operation.common()
    if state is None or operation.counts_rows():
        return False
    end = operation["end"]
    everything = operation["start"] in (None, 0) and operation["step"] in (None, 1)
    everything = everything and (end is None or (isinstance(end, int) and end >= 2**62))
    return everything or operation["dim"] % rank_of(operation.data) != state.dim


@rule("select_scatter")
def selected(operation: Operation) -> bool:
    """Into a dimension that does not hold the batch."""
    if len(operation.held) < 2 or operation.counts_rows():
        return False
    return bool(operation["dim"] % rank_of(operation.data) != operation.place.dim)


@rule("cat stack")
def joined(operation: Operation) -> bool:
    """Tensors with rows at one place, along another dimension."""
    if operation.common() is None or operation.counts_rows():
        return False
    return bool(operation["dim"] % len(operation.shape) != operation.place.dim)


@rule("embedding")
def embedded(operation: Operation) -> bool:
    """Rows of the indices; the table has none."""
    return operation.state(operation["weight"]) == SHARED


@rule("index")
def indexed(operation: Operation) -> bool:
    """By shared indices in dimensions beside the batch."""
    state = operation.lone()
    if state is None:
        return False
    indices = list(enumerate(operation["indices"]))
    places = [i for i, index in indices if index is not None]
    masks = any(index is not None and not index.meta["val"].dtype.is_signed for _, index in indices)
    return state.dim not in places and not masks


@rule("gather")
def gathered(operation: Operation) -> bool:
    """Along a dimension beside the batch, by indices with the rows of the data."""
    state = operation.common()
    return state is not None and operation["dim"] % rank_of(operation.data) != state.dim


@rule("index_select")
def picked(operation: Operation) -> bool:
    """The same entries of every row."""
    state = operation.lone()
    return state is not None and operation["dim"] % rank_of(operation.data) != state.dim


@rule("nll_loss nll_loss_forward nll_loss2d_forward nll_loss_nd cross_entropy_loss")
def scored(operation: Operation) -> bool:
    """A loss for each example, without a mean."""
    place = Rows(0)
    batched = rank_of(operation.data) > 1 and operation.place == place
    return batched and operation["reduction"] == 0 and all(s == place for _, s in operation.held)
