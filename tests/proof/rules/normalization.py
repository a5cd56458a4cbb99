"""Normalisation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rules.case import Case, Expected, case, cautious, positive, real, refused
from rules.law_tables import BEND, UNEQUAL

BATCH_NORM: dict[str, Expected] = {
    "1 F Z Z F": "1, F, F",
    "2 F Z Z F": "2, F, F",
    "A F Z Z F": "A, F, F",
    "1 F F F F": "A, F, F",
    "1 F Z F F": "A, F, F",
    "1 F F Z F": "A, F, F",
    "A F F F F": "A, F, F",
    "2 F F F F": refused(UNEQUAL),
    "F 1 F F F": cautious("parameters are computed from the input"),
    "F F F F 1": refused("parameters are computed from the input"),
    "1 1 Z Z F": cautious("parameters are computed from the input"),
}
BATCH_NORM_BARE: dict[str, Expected] = {"1 Z F": "1, F, F", "1 F F": "A, F, F", "A Z F": "A, F, F"}

CHANNELS = (real(3), real(3), real(3), positive(3))


def _batch_norm(*args: object, table: dict[str, Expected]) -> Case:
    """The operation takes no statistics that ask for a gradient."""
    overload = torch.ops.aten._native_batch_norm_legit_no_training.default

    def via(
        x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, *rest: float
    ) -> object:
        return overload(x, weight, bias, mean.detach(), var.detach(), *rest)

    name = "aten._native_batch_norm_legit_no_training.default"
    return case(name, *args, via=via, table=table)


INFERENCE = [
    _batch_norm(real(2, 3, 4), *CHANNELS, 0.1, 1e-5, table=BATCH_NORM),
    _batch_norm(real(2, 3, 4), None, None, *CHANNELS[2:], 0.1, 1e-5, table=BATCH_NORM_BARE),
    _batch_norm(
        real(2, 3, 4),
        None,
        *CHANNELS[1:],
        0.1,
        1e-5,
        table={"1 Z Z F": "1, F, F", "1 F Z F": "A, F, F"},
    ),
]

REST = (0.1, 1e-5)


def _of_a_backend(results: int) -> Any:
    """The same numbers where the device of the operation is not at hand."""

    def via(*arguments: Any) -> Any:
        return *torch.native_batch_norm(*arguments), *(torch.zeros(0) for _ in range(results - 3))

    return via


def _with_copies(*arguments: Any) -> Any:
    """Without writing into the statistics that were given."""
    x, weight, bias, mean, var, *rest = arguments
    return torch.native_batch_norm(x, weight, bias, mean.clone(), var.clone(), *rest)


def _of_form(op: str, *flag: bool, more: str = "", **how: Any) -> list[Case]:
    """With and without weight and bias, which these operations take in the same way."""
    tables = [
        {k: v + more if isinstance(v, str) else v for k, v in table.items()}
        for table in (BATCH_NORM, BATCH_NORM_BARE)
    ]
    x = real(2, 3, 4)
    return [
        case(op, x, *CHANNELS, *flag, *REST, table=tables[0], **how),
        case(op, x, None, None, *CHANNELS[2:], *flag, *REST, table=tables[1], **how),
    ]


NATIVE = [
    *_of_form("aten.native_batch_norm.default", False),
    _of_form("aten._batch_norm_no_update.default", more=", F")[0],  # it has no way back without
    *_of_form("aten.miopen_batch_norm.default", False, by_hand=True, via=_of_a_backend(3)),
    *_of_form(
        "aten.cudnn_batch_norm.default", False, more=", F", by_hand=True, via=_of_a_backend(4)
    ),
    case(
        "aten.native_batch_norm.default",
        real(2, 3, 4),
        *CHANNELS,
        True,
        *REST,
        via=_with_copies,
        table={"1 F F F F": refused("in training mode uses the statistics of the batch")},
    ),
    case(
        "aten.native_batch_norm.default",
        real(2, 3, 4),
        *CHANNELS[:2],
        None,
        None,
        True,
        *REST,
        table={"1 F F": refused("by statistics of the input itself")},
    ),
]

EPS = refused("normalisation by statistics of the input with eps = 1e-05")


def _norms(weight: bool, bias: bool, eps: float, table: dict[str, Expected]) -> list[Case]:
    layer = (real(4) if weight else None, real(4) if bias else None)
    group = layer
    return [
        case("aten.native_layer_norm.default", real(2, 4), [4], *layer, eps, table=table),
        case("aten.native_group_norm.default", real(2, 4, 3), *group, 2, 4, 3, 2, eps, table=table),
        case("aten.layer_norm.default", real(2, 4), [4], *layer, eps, table=_first(table)),
        case("aten.group_norm.default", real(2, 4, 3), 2, *group, eps, table=_first(table)),
    ]


def _first(table: dict[str, Expected]) -> dict[str, Expected]:
    return {k: v if not isinstance(v, str) else v.split(",")[0] for k, v in table.items()}


NORMS = [
    *_norms(
        True,
        True,
        0.0,
        {
            "1 F F": "0, 1, -1",
            "2 F F": "0, 2, -2",
            "A F F": refused(BEND),
            "1 1 Z": "1, 1, -1",
            "1 F 1": refused(UNEQUAL),
        },
    ),
    *_norms(False, False, 0.0, {"1": "0, 1, -1"}),
    *_norms(True, False, 0.0, {"1 F": "0, 1, -1", "1 2": "2, 1, -1"}),
    *_norms(True, True, 1e-5, {"1 F F": EPS, "2 F F": EPS, "A F F": refused(BEND)}),
    *_norms(False, False, 1e-5, {"1": EPS}),
]
CASES = INFERENCE + NATIVE + NORMS
