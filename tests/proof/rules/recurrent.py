"""Recurrent layers as one operation."""

from __future__ import annotations

import torch

from rules.case import Case, Expected, Value, case, cautious, real, refused
from rules.law_tables import BEND, UNEQUAL

PLAIN: dict[str, Expected] = {
    "1 Z F F": "1, 1",
    "2 Z F F": "2, 2",
    "1 1 F F": "1, 1",
    "Z 1 F F": "1, 1",
    "1 F F F": refused(BEND),
    "A Z F F": refused(BEND),
    "F A F F": refused(BEND),
    "1 2 F F": refused(UNEQUAL),
    "-1 Z F F": cautious("a recurrent layer of what does not scale"),
    "1 Z 1 F": cautious("a recurrent layer whose weights move"),
    "1 Z F 1": refused("a recurrent layer whose weights move"),
}
"""Input, first state, and the weights of both."""

BIASED: dict[str, Expected] = {
    "1 Z F F Z Z": "1, 1",
    "1 Z F F F Z": refused("the bias of a recurrent layer is not zero"),
    "1 Z F F Z F": refused("the bias of a recurrent layer is not zero"),
}
DROPPING: dict[str, Expected] = {"1 Z F F F F": cautious("dropout is active")}


def _rnn(
    layers: int, dropout: float, *, biases: bool, both: bool, table: dict[str, Expected]
) -> Case:
    params: list[Value] = []
    for layer in range(layers):
        for _ in range(2 if both else 1):
            params += [real(5, (10 if both else 5) if layer else 3), real(5, 5)]
            params += [real(5), real(5)] if biases else []
    state = real(layers * (2 if both else 1), 2, 5)
    options = (biases, layers, dropout, dropout > 0, both, True)
    return case("aten.rnn_relu.input", real(2, 4, 3), state, params, *options, table=table)


LENGTHS = Value((3,), lambda generator, shape: torch.tensor([4, 2, 1]))
SIZES = Value((4,), lambda generator, shape: torch.tensor([3, 2, 1, 1]))
"""How many of the sequences go on so long."""


def _packed(biases: bool, table: dict[str, Expected]) -> Case:
    params = [real(5, 3), real(5, 5)] + ([real(5), real(5)] if biases else [])
    options = (biases, 1, 0.0, False, False)
    state = real(1, 3, 5)
    return case("aten.rnn_relu.data", real(7, 3), SIZES, state, params, *options, table=table)


def _with_sizes(table: dict[str, Expected]) -> dict[str, Expected]:
    return {" ".join((k.split()[0], "F", *k.split()[1:])): v for k, v in table.items()}


CASES = [
    _packed(False, _with_sizes(PLAIN)),
    _packed(True, _with_sizes(BIASED)),
    case(
        "aten._pack_padded_sequence.default",
        real(3, 4, 2),
        LENGTHS,
        True,
        table={"1 F": "1, F", "-2 F": "-2, F", "A F": "A, F"},
    ),
    case(
        "aten._pad_packed_sequence.default",
        real(7, 2),
        SIZES,
        True,
        0.0,
        4,
        table={"1 F": "1, F", "-2 F": "-2, F", "A F": "A, F"},
    ),
    case(
        "aten._pad_packed_sequence.default",
        real(7, 2),
        SIZES,
        True,
        -1.0,
        4,
        table={"1 F": "A, F", "2 F": refused(UNEQUAL)},
    ),
    _rnn(1, 0.0, biases=False, both=False, table=PLAIN),
    _rnn(1, 0.0, biases=True, both=False, table=BIASED),
    _rnn(1, 0.0, biases=False, both=True, table={"1 Z F F F F": "1, 1", "2 2 F F F F": "2, 2"}),
    _rnn(2, 0.0, biases=False, both=False, table={"1 Z F F F F": "1, 1"}),
    _rnn(2, 0.5, biases=False, both=False, table=DROPPING),
]
