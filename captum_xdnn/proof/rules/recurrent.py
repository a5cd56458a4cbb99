"""Recurrent layers as one operation: with ReLUs and without biases they are homogeneous."""

from typing import Any

from captum_xdnn.proof.batch_dim import BatchDim, BatchedCall, Unbatched, rank_of
from captum_xdnn.proof.domain import FIXED, Affine, Motion, Power, Unknown
from captum_xdnn.proof.laws import BEND, linear, merged, switched
from captum_xdnn.proof.operand import is_zero, motion_of
from captum_xdnn.proof.registry import law, refuse
from captum_xdnn.proof.rules.refused import AS_IT_IS

GATED = (
    "a recurrent layer with gates that saturate",
    f"use nn.RNN with nonlinearity='relu' and bias=False and retrain; {AS_IT_IS}",
)


def step_by_step(call: BatchedCall) -> BatchDim | None:
    """Over the other of the first two dimensions; a first state of zeros is every row's."""
    state = call.state(call.data)
    if not isinstance(state, BatchDim) or "batch_first" not in call.arguments:
        return None
    if rank_of(call.data) != 3 or state.dim != (0 if call["batch_first"] else 1):
        return None
    states = call["hx"] if isinstance(call["hx"], tuple) else (call["hx"],)
    for node in states:
        held = call.state(node)
        if held != state.at(1) and not (isinstance(held, Unbatched) and 1 in held.uniform):
            return None
    others = [n for n, _ in call.batched if n is not call.data and n not in states]
    if others:
        return None
    output = call.shape[:2] == call.data.value.shape[:2] or not call["batch_first"]
    return state if output else state.at(1)


refuse(
    "lstm.input lstm.data gru.input gru.data rnn_tanh.input rnn_tanh.data",
    *GATED,
    rows=step_by_step,
)
refuse("mkldnn_rnn_layer _cudnn_rnn miopen_rnn _thnn_fused_lstm_cell _thnn_fused_gru_cell", *GATED)


@law("rnn_relu.input", rows=step_by_step)
def _rnn_relu(
    input: Any, hx: Any, params: Any, has_biases: bool, _layers: int, /, *rest: Any
) -> tuple[Motion, Motion]:
    """``h_t = relu(W x_t + U h_{t-1} + b)``: degree 1 in the input and the first state together."""
    dropout, is_training, *_ = rest
    motion = _of_relus(input, hx, params, has_biases, bool(dropout and is_training))
    return motion, motion


@law("rnn_relu.data", rows=step_by_step)
def _rnn_relu_of_packed(data: Any, batch_sizes: Any, /, *rest: Any) -> tuple[Motion, Motion]:
    """See above, for sequences of several lengths."""
    motion, _ = _rnn_relu(data, *rest)
    return switched(batch_sizes, motion), switched(batch_sizes, motion)


@law("_pack_padded_sequence", rows="rows of all examples stand side by side, step by step")
def _pack(input: Any, lengths: Any, /, *_: Any) -> tuple[Motion, Motion]:
    """Entries at places that the lengths decide, and how many there are at each time."""
    return switched(lengths, linear(input)), motion_of(lengths)


@law("_pad_packed_sequence", rows="rows of all examples stand side by side, step by step")
def _unpack(
    data: Any, batch_sizes: Any, _batch_first: bool, padding_value: float, _total_length: int, /
) -> tuple[Motion, Motion]:
    """The same entries beside a constant, and the lengths."""
    return switched(batch_sizes, data, padding_value), motion_of(batch_sizes)


def _of_relus(input: Any, hx: Any, params: Any, has_biases: bool, is_random: bool) -> Motion:
    if is_random:
        return Unknown("dropout is active, so the output is random", "call model.eval()")
    if any(motion_of(p) != FIXED for p in params):
        return Unknown("a recurrent layer whose weights move")
    biases = [p for place, p in enumerate(params) if has_biases and place % 4 in (2, 3)]
    if not all(map(is_zero, biases)):
        return Unknown("the bias of a recurrent layer is not zero", "use bias=False and retrain")
    joint = merged((input, hx))
    if isinstance(joint, Affine):
        return Unknown(BEND)
    if isinstance(joint, Power) and joint.degree <= 0:
        return Unknown("a recurrent layer of what does not scale")
    return joint
