"""Recurrent layers as one operation: with ReLUs and without biases they are homogeneous."""

from __future__ import annotations

from typing import Any

from captum_xdnn.proof.domain import FIXED, Affine, Motion, Power, Unknown
from captum_xdnn.proof.laws import BEND, linear, merged, switched
from captum_xdnn.proof.operand import is_zero, motion_of
from captum_xdnn.proof.registry import register_rule


@register_rule("aten.rnn_relu.input")
def _rnn_relu(
    input: Any, hx: Any, params: Any, has_biases: bool, num_layers: int, dropout: float, *rest: Any
) -> tuple[Motion, Motion]:
    """``h_t = relu(W x_t + U h_{t-1} + b)``: degree 1 in the input and the first state together."""
    del num_layers
    outcome = _of_relus(input, hx, params, has_biases, bool(dropout and rest[0]))
    return outcome, outcome


@register_rule("aten.rnn_relu.data")
def _rnn_relu_of_packed(
    data: Any, batch_sizes: Any, hx: Any, params: Any, has_biases: bool, num_layers: int, *rest: Any
) -> tuple[Motion, Motion]:
    """See above, for sequences of several lengths."""
    del num_layers
    outcome = switched(
        batch_sizes, _of_relus(data, hx, params, has_biases, bool(rest[0] and rest[1]))
    )
    return outcome, outcome


@register_rule("aten._pack_padded_sequence.default")
def _pack(input: Any, lengths: Any, batch_first: bool) -> tuple[Motion, Motion]:
    """Entries at places that the lengths decide, and how many there are at each time."""
    del batch_first
    return switched(lengths, linear(input)), motion_of(lengths)


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
