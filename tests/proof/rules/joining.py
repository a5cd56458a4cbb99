"""Sums, and tensors put together from parts."""

from __future__ import annotations

import torch

from rules.case import (
    Case,
    Expected,
    Value,
    case,
    cautious,
    coarse,
    index,
    mask,
    real,
    refused,
    scalar,
)
from rules.law_tables import BEND, CHOICE, SUM, UNEQUAL, WRITTEN, scaled

WITHOUT_SECOND: dict[str, Expected] = {"1 F": "1", "1 2": "1", "2 F": "2", "A 1": "A", "F 1": "F"}
WITHOUT_FIRST: dict[str, Expected] = {"F 1": "1", "2 1": "1", "F 2": "2", "1 A": "A", "1 F": "F"}
PLUS_NUMBER: dict[str, Expected] = {"1": "A", "A": "A", "2": refused(UNEQUAL)}
PLUS_ZERO: dict[str, Expected] = {"1": "1", "A": "A", "2": "2"}

SUMS = [
    case("aten.add.Tensor", real(), real(), table=SUM),
    case("aten.add.Tensor", real(), real(), alpha=2, table=SUM),
    case("aten.add.Tensor", real(), real(), alpha=0, table=WITHOUT_SECOND),
    case("aten.add.Scalar", real(), 2.0, table=PLUS_NUMBER),
    case("aten.add.Scalar", real(), 0.0, table=PLUS_ZERO),
    case("aten.add.Scalar", real(), 2.0, 0, table=PLUS_ZERO),
    case("aten.sub.Tensor", real(), real(), table=SUM),
    case("aten.sub.Tensor", real(), real(), alpha=0, table=WITHOUT_SECOND),
    case("aten.sub.Scalar", real(), 2.0, table=PLUS_NUMBER),
    case("aten.sub.Scalar", real(), 0, table=PLUS_ZERO),
    case("aten.rsub.Tensor", real(), real(), table=SUM),
    case("aten.rsub.Tensor", real(), real(), alpha=0, table=WITHOUT_FIRST),
    case("aten.rsub.Scalar", real(), 2.0, table=PLUS_NUMBER),
    case("aten.rsub.Scalar", real(), 0.0, table=PLUS_ZERO),
    case("aten.rsub.Scalar", real(), 2.0, 0, table={"1": "F", "A": "F"}),
]

SIDE_BY_SIDE = [
    case("aten.cat.default", [real(2, 3), real(2, 3)], 1, table=SUM),
    case("aten.stack.default", [real(2, 3), real(2, 3)], table=SUM),
    case("aten.block_diag.default", [real(2, 3), real(2, 3)], table=SUM),
    case("aten.constant_pad_nd.default", real(), [1, 1], table=PLUS_ZERO),
    case("aten.constant_pad_nd.default", real(), [1, 1], 1.0, table=PLUS_NUMBER),
    case("aten.constant_pad_nd.default", real(), [1, 1], float("-inf"), table={"1": "1", "2": "2"}),
]

CHOSEN: dict[str, Expected] = {
    "F 1 1": "1",
    "F 1 F": "A",
    "F A 1": "A",
    "F 1 2": refused(UNEQUAL),
    "0 1 1": "1",
    "0 2 Z": "2",
    "0 Z -1": "-1",
    "0 1 F": refused(CHOICE),
    "0 A A": refused(CHOICE),
}
CHOICES = [
    case("aten.where.self", mask(), real(), real(), table=CHOSEN),
    case(
        "aten.masked_fill.Scalar",
        real(),
        mask(),
        0.0,
        table={"1 0": "1", "2 F": "2", "A F": "A", "A 0": refused(CHOICE)},
    ),
    case(
        "aten.masked_fill.Scalar",
        real(),
        mask(),
        3.0,
        table={"1 F": "A", "A F": "A", "1 0": refused(CHOICE), "2 F": refused(UNEQUAL)},
    ),
    case("aten.masked_fill.Tensor", real(), mask(), scalar(), table=WRITTEN),
    case("aten.masked_scatter.default", real(), mask(), real(), table=WRITTEN),
]

OVERWRITTEN = [
    case("aten.select_scatter.default", real(3, 4), real(4), 0, 1, table=SUM),
    case("aten.slice_scatter.default", real(3, 4), real(2, 4), 0, 1, 3, table=SUM),
    case("aten.diagonal_scatter.default", real(4, 4), real(4), table=SUM),
    case("aten.as_strided_scatter.default", real(3, 4), real(2, 2), [2, 2], [1, 2], table=SUM),
]


def distinct(count: int) -> Value:
    """Places of three, none of them twice."""
    return Value((count,), lambda g, s: torch.randperm(3, generator=g)[: s[0]])


BY_INDEX = [
    case("aten.scatter.src", real(3, 4), 0, index(2, 4, below=3), real(2, 4), table=WRITTEN),
    case(
        "aten.scatter.value",
        real(3, 4),
        0,
        index(2, 4, below=3),
        0.0,
        table={"1 0": "1", "2 F": "2", "A F": "A"},
    ),
    case(
        "aten.scatter.value",
        real(3, 4),
        0,
        index(2, 4, below=3),
        2.0,
        table={"1 F": "A", "1 0": refused(CHOICE)},
    ),
    case(
        "aten.scatter_add.default", real(3, 4), 0, index(2, 4, below=3), real(2, 4), table=WRITTEN
    ),
    case("aten.index_add.default", real(3, 4), 0, index(2, below=3), real(2, 4), table=WRITTEN),
    case("aten.index_copy.default", real(3, 4), 0, distinct(2), real(2, 4), table=WRITTEN),
    case("aten.index_fill.int_Tensor", real(3, 4), 0, distinct(2), scalar(), table=WRITTEN),
    case(
        "aten.index_fill.int_Scalar",
        real(3, 4),
        0,
        index(2, below=3),
        0.0,
        table={"1 0": "1", "2 F": "2", "A F": "A"},
    ),
    case(
        "aten.index_fill.int_Scalar",
        real(3, 4),
        0,
        index(2, below=3),
        2.0,
        table={"1 F": "A", "1 0": refused(CHOICE)},
    ),
    case(
        "aten.index_add.default",
        real(3, 4),
        0,
        index(2, below=3),
        real(2, 4),
        alpha=0,
        table={"1 0 F": "1", "2 F F": "2"},
    ),
    case("aten.index_put.default", real(3, 4), [index(2, below=3)], real(2, 4), table=WRITTEN),
    case(
        "aten.index_put.default",
        real(3, 4),
        [None, index(2, below=4)],
        real(3, 2),
        True,
        table=WRITTEN,
    ),
    case(
        "aten._unsafe_index_put.default", real(3, 4), [index(2, below=3)], real(2, 4), table=WRITTEN
    ),
    case(
        "aten.index_put.default",
        real(3, 4),
        [index(2, below=3), index(2, below=4)],
        real(2),
        table={"1 F F 1": "1", "1 0 F 1": "1", "1 F 0 F": refused(CHOICE)},
    ),
    case("aten.put.default", real(3, 4), index(2, below=12), real(2), table=WRITTEN),
]


def _reduced(how: str, table: dict[str, Expected], *, include_self: bool = True) -> Case:
    return case(
        "aten.scatter_reduce.two",
        real(3, 4), 0, index(2, 4, below=3), real(2, 4), how,
        include_self=include_self,
        table=table,
    )  # fmt: skip


EXTREME: dict[str, Expected] = {
    "1 F 1": "1",
    "2 0 2": "2",
    "1 F Z": "1",
    "1 F F": refused(UNEQUAL),
    "A F A": refused(BEND),
}
REDUCED = [
    _reduced("sum", WRITTEN),
    _reduced("mean", WRITTEN),
    _reduced("mean", WRITTEN, include_self=False),
    _reduced("amax", EXTREME),
    _reduced("amin", EXTREME),
    case(
        "aten.index_reduce.default",
        *(real(3, 4), 0, index(2, below=3), real(2, 4), "mean"),
        table=WRITTEN,
    ),
    case(
        "aten.index_reduce.default",
        *(real(3, 4), 0, index(2, below=3), real(2, 4), "amax"),
        table=EXTREME,
    ),
    _reduced("prod", {"1 F 1": refused("as many factors as an index says")}),
]

LENGTHS = Value((2,), lambda generator, shape: torch.tensor([1, 2]))
"""How many rows of three are in each segment."""


def _segments(how: str, table: dict[str, Expected], **options: float) -> Case:
    name = "aten.segment_reduce.default"
    return case(name, real(3, 2), how, lengths=LENGTHS, axis=0, **options, table=table)


SEGMENTS = [
    *(_segments(how, {"1 F": "1", "2 F": "2", "A F": "A"}) for how in ("sum", "mean")),
    _segments("sum", {"1 F": "A", "2 F": refused(UNEQUAL)}, initial=1.0),
    *(_segments(how, {"1 F": "1", "2 F": "2", "A F": refused(BEND)}) for how in ("max", "min")),
    _segments("max", {"1 F": refused(UNEQUAL)}, initial=0.1),
    _segments("prod", {"1 F": refused("as many factors as a segment is long")}),
    case("aten.bincount.default", index(5, below=3), table={"0": "0", "F": "F"}),
    case(
        "aten.bincount.default",
        index(5, below=3),
        real(5),
        table={"F 1": "1", "F 2": "2", "F A": "A", "0 1": "1", "0 A": refused("a choice")},
    ),
]

CONTENT_GONE: dict[str, Expected] = {"1 1": "1", "1 F": "F", "F 2": "2", "A A": "A", "1 Z": "F"}
REPLACED = [
    case("aten.fill.Scalar", real(), 2.0, table={"1": "F", "A": "F"}),
    case("aten.fill.Tensor", real(), scalar(), table=CONTENT_GONE),
    case("aten.copy.default", real(), real(), table=CONTENT_GONE),
]

PAIRS: dict[str, Expected] = {
    "1 1": "1",
    "2 2": "2",
    "1 Z": "1",
    "1 F": refused(UNEQUAL),
    "A F": refused(BEND),
}
DISTANCES = [
    case("aten._cdist_forward.default", real(3, 2), real(4, 2), 2.0, None, table=PAIRS),
    case("aten._cdist_forward.default", real(3, 2), real(4, 2), float("inf"), None, table=PAIRS),
    case(
        "aten._cdist_forward.default",
        coarse(3, 2),
        coarse(4, 2),
        0.0,
        None,
        table={"1 1": "0", "1 Z": "0", "1 F": refused(UNEQUAL)},
    ),
    case("aten.dist.default", real(), real(), table=PAIRS),
    *(
        case("aten.dist.default", real(3, 2), real(3, 2), p, table=PAIRS)
        for p in (1, 0.5, -1.0, float("inf"), -float("inf"))
    ),
    case(
        "aten.dist.default",
        coarse(),
        coarse(),
        0,
        table={"1 1": "0", "1 Z": "0", "1 F": refused(UNEQUAL)},
    ),
    *(
        case(
            "aten.mse_loss.default",
            *(real(), real(), reduction),
            table={
                "1 1": "2",
                "2 2": "4",
                "1 Z": "2",
                "1 F": refused(BEND),
                "A 1": refused(BEND),
                "1 2": refused(UNEQUAL),
            },
        )
        for reduction in (0, 1, 2)
    ),
    case("aten._pdist_forward.default", real(4, 2), 2.0, table=scaled("1")),
    case("aten._pdist_forward.default", coarse(4, 2), 0.0, table={"1": "0", "A": cautious(BEND)}),
]

CASES = [
    *(SUMS + SIDE_BY_SIDE + CHOICES + OVERWRITTEN + BY_INDEX + REDUCED + SEGMENTS),
    *(REPLACED + DISTANCES),
]
