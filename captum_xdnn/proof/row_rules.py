"""Where the rows of a batch are behind an operation, if it keeps them apart.

A rule gives no place where it proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from captum_xdnn.proof.batch_dim import Meeting, Rows, Shared, rank_of
from captum_xdnn.recording.node import Node

Rule = Callable[[Meeting], Rows | None]
RULES: dict[str, Rule] = {}
"""For each operation, by name without its overload, where it leaves the rows."""

UNIFORM = frozenset(
    [
        "zeros",
        "ones",
        "full",
        "scalar_tensor",
        "new_zeros",
        "new_ones",
        "new_full",
        "zeros_like",
        "ones_like",
        "full_like",
    ]
)
"""Operations whose results have the same entry everywhere, where no tensor is their value."""
FRESH = frozenset(("new_zeros", "new_ones", "new_full"))
"""Operations that take nothing but the dtype and device of the tensor they are given."""


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
    if given is None or given in ((), []):
        return set(range(rank))
    return {d % max(rank, 1) for d in (given if isinstance(given, list | tuple) else [given])}


@rule(
    "add sub rsub mul div where clone _to_copy alias detach lift_fresh lift_fresh_copy fill zeros_like "
    "ones_like full_like clamp clamp_min clamp_max masked_fill contiguous copy hardtanh prelu "
    "_prelu_kernel leaky_relu mse_loss smooth_l1_loss huber_loss binary_cross_entropy celu selu elu "
    "relu6 binary_cross_entropy_with_logits softplus hardsigmoid hardswish softshrink hardshrink silu "
    "mish gelu log_sigmoid_forward threshold square maximum minimum relu expand polar complex copysign "
    "fmod remainder lerp addcmul addcdiv isclose nan_to_num logical_and logical_or logical_xor atan2 "
    "hypot fmax fmin rrelu_with_noise zero"
)
def pointwise(meeting: Meeting) -> Rows | None:
    """Entry by entry, with broadcasting: the rows of all stand at one place from the right."""
    found = meeting.from_right()
    if found is None or meeting["reduction"]:
        return None
    return found[1].at(len(meeting.shape) - found[0])


@rule(
    "softmax _softmax _safe_softmax log_softmax _log_softmax sum mean amax amin argmax argmin "
    "aminmax cumsum cumprod cummax cummin logcumsumexp sort topk kthvalue median nanmedian mode "
    "prod var std var_mean std_mean logsumexp any all norm linalg_vector_norm nansum flip roll glu "
    "select unbind split split_with_sizes chunk unsafe_split unsafe_split_with_sizes argsort "
    "squeeze max min count_nonzero"
)
def along(meeting: Meeting) -> Rows | None:
    """Along dimensions that do not hold the batch."""
    if "other" in meeting.arguments:  # the pairwise overloads of max and min
        return pointwise(meeting)
    state = meeting.lone()
    names = [n for n in ("dim", "dims") if n in meeting.arguments]
    if state is None:
        return None
    rank, shape = rank_of(meeting.data), meeting.data.value.shape
    if len(meeting.shape) == rank and not names:
        return None
    dims = dims_of(meeting[names[0]] if names else None, rank)
    if _squeezes(meeting):
        dims = {d for d in dims if shape[d] == 1}
    if state.dim in dims:
        return None
    kept = len(meeting.shape) == rank
    return state if kept else state.at(state.dim - sum(d < state.dim for d in dims))


def _squeezes(meeting: Meeting) -> bool:
    """Whether the operation only drops dimensions of one entry."""
    return (
        set(meeting.arguments) <= {"self", "dim"}
        and len(meeting.arguments) <= 2
        and (_count(meeting.shape) == _count(meeting.data.value.shape))
    )


def _count(shape: Any) -> int:
    count = 1
    for length in shape:
        count *= length
    return count


@rule(
    "max_pool1d max_pool2d max_pool3d "
    "max_pool2d_with_indices max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d "
    "_adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d "
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d "
    "upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d _upsample_bilinear2d_aa "
    "_upsample_bicubic2d_aa channel_shuffle native_group_norm group_norm grid_sampler_2d "
    "grid_sampler_3d im2col _upsample_nearest_exact1d _upsample_nearest_exact2d "
    "_upsample_nearest_exact3d"
)
def images(meeting: Meeting) -> Rows | None:
    """Layers on batches of channels: the batch comes first."""
    return _comes_first(meeting, [n for n, _ in meeting.shared if rank_of(n) > 2])


@rule("convolution conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d")
def convolved(meeting: Meeting) -> Rows | None:
    """The batch comes first; without a batch the data has one dimension less than the weight."""
    if meeting.lone() is None or rank_of(meeting["weight"]) != rank_of(meeting.data):
        return None
    return _comes_first(meeting, [])


def _comes_first(meeting: Meeting, others: list[Node]) -> Rows | None:
    if type(meeting.data) is not Node or rank_of(meeting.data) < 3:
        return None
    places = {state for _, state in meeting.held}
    batched = any(node.value.shape[0] != 1 for node in others)
    if len(places) != 1 or batched or (place := places.pop()).dim != 0:
        return None
    return place


@rule(
    "batch_norm _native_batch_norm_legit_no_training native_batch_norm cudnn_batch_norm "
    "miopen_batch_norm _native_batch_norm_legit _batch_norm_no_update"
)
def normed_by_channel(meeting: Meeting) -> Rows | None:
    """With constants; else with what each channel has in common, all rows standing in one dimension."""
    data = meeting.state(meeting.data)
    if not isinstance(data, Rows) or len(meeting.shape) != rank_of(meeting.data):
        return None
    alone = meeting.lone() is not None
    if not meeting["training"]:
        return data if alone and data.dim == 0 else None
    of_channels = Rows(0, data.width, data.outer)
    others = all(s == of_channels for node, s in meeting.held if node is not meeting.data)
    return data if data.dim == 1 and others else None


@rule("pixel_shuffle pixel_unshuffle")
def shuffled(meeting: Meeting) -> Rows | None:
    """Of the last three dimensions."""
    state = meeting.lone()
    return state if state is not None and state.dim < rank_of(meeting.data) - 3 else None


@rule("layer_norm native_layer_norm rms_norm _fused_rms_norm")
def normed(meeting: Meeting) -> Rows | None:
    """Over the last dimensions."""
    state = meeting.lone()
    outer = rank_of(meeting.data) - len(meeting["normalized_shape"])
    return state if state is not None and state.dim < outer else None


@rule(
    "constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d "
    "replication_pad2d replication_pad3d"
)
def padded(meeting: Meeting) -> Rows | None:
    """Of the last dimensions, two numbers for each."""
    state, pad = meeting.lone(), meeting["pad"] or meeting["padding"]
    if state is None or pad is None:
        return None
    return state if state.dim < rank_of(meeting.data) - len(pad) // 2 else None


@rule("_cdist_forward cdist linear")
def of_last_dimension(meeting: Meeting) -> Rows | None:
    """Over the last dimension of the data, with what all rows share."""
    state = meeting.lone()
    return state if state is not None and state.dim < rank_of(meeting.data) - 1 else None


@rule("mm bmm matmul addmm baddbmm")
def products(meeting: Meeting) -> Rows | None:
    """Of matrices or batches of them: rows in a dimension that is not summed over."""
    pairs = (("mat1", "mat2"), ("batch1", "batch2"), ("self", "other"), ("self", "mat2"))
    left, right = next(pair for pair in pairs if set(pair) <= meeting.arguments.keys())
    factors = (meeting[left], meeting[right])
    if any(rank_of(factor) < 2 for factor in factors):
        return None
    places = set()
    for factor, summed in zip(factors, (1, 2), strict=True):
        state = meeting.state(factor)
        if isinstance(state, Rows):
            if rank_of(factor) - state.dim == summed:
                return None
            places.add((rank_of(factor) - state.dim, state.width, state.outer))
    if len(places) != 1 or not all(node in factors for node, _ in meeting.held):
        return None
    from_right, width, outer = places.pop()
    both = all(isinstance(meeting.state(factor), Rows) for factor in factors)
    if both and from_right <= 2:
        return None
    for node, state in meeting.shared:  # a bias, or a batch of matrices
        dim = rank_of(node) - from_right
        aligned = node not in factors or from_right > 2
        if aligned and dim >= 0 and node.value.shape[dim] != 1 and dim not in state.uniform:
            return None
    return Rows(len(meeting.shape) - from_right, width, outer)


@rule(
    "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention "
    "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention "
    "_scaled_dot_product_fused_attention_overrideable _scaled_dot_product_attention_math"
)
def attended(meeting: Meeting) -> Rows | None:
    """Queries, keys and values of each example; a mask has no batch, or that of the examples."""
    return _comes_first(meeting, [n for n, _ in meeting.shared if rank_of(n) > 2])


@rule("lstm gru rnn_tanh rnn_relu")
def recurrent(meeting: Meeting) -> Rows | None:
    """Step by step over the other of the first two dimensions; a first state of zeros is every row's."""
    state = meeting.state(meeting.data)
    if not isinstance(state, Rows) or "batch_first" not in meeting.arguments:
        return None
    if rank_of(meeting.data) != 3 or state.dim != (0 if meeting["batch_first"] else 1):
        return None
    states = meeting["hx"] if isinstance(meeting["hx"], tuple) else (meeting["hx"],)
    for node in states:
        held = meeting.state(node)
        if held != state.at(1) and not (isinstance(held, Shared) and 1 in held.uniform):
            return None
    others = [n for n, _ in meeting.held if n is not meeting.data and n not in states]
    if others:
        return None
    output = meeting.shape[:2] == meeting.data.value.shape[:2] or not meeting["batch_first"]
    return state if output else state.at(1)
