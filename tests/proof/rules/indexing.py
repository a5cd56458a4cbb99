"""Reading entries."""

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
    positive,
    real,
    refused,
    share,
)
from rules.law_tables import BEND, READ

IMAGE, GRID = real(1, 2, 4, 4), share(1, 3, 3, 2)
VOLUME, PLACES_IN_IT = real(1, 2, 3, 3, 3), share(1, 2, 2, 2, 3)
PLACES = "the places of sampling are computed from the input"
SAMPLED: dict[str, Expected] = {
    "1 F": "1",
    "A F": "A",
    "2 0": "2",
    "A 0": refused("depends on the input"),
    "F 1": refused(PLACES),
    "1 1": refused(PLACES),
    "F A": refused(PLACES),
}
TRUE_SOMEWHERE: dict[str, Expected] = {"1": "0", "2": "0", "A": cautious(BEND)}
COUNT: dict[str, Expected] = {"1": "0", "2": "0", "A": cautious(BEND)}
ORDERED: dict[str, Expected] = {
    "1 1": "0",
    "2 2": "0",
    "1 Z": "0",
    "1 F": refused("parts that move differently meet"),
    "A F": refused(BEND),
}

OFFSETS = Value((2,), lambda generator, shape: torch.tensor([0, 2]))
"""Where bags begin."""


def _bags(mode: int, table: dict[str, Expected], *weights: Value) -> list[Case]:
    names = ("aten._embedding_bag.default", "aten._embedding_bag_forward_only.default")
    rest = (False, mode, False, *weights)
    return [case(n, real(5, 4), index(6, below=5), OFFSETS, *rest, table=table) for n in names]


CASES = [
    *_bags(0, {"1 F F": "1, F, F, F", "A F F": "A, F, F, F", "2 F F": "2, F, F, F"}),
    *_bags(0, {"F F F 1": "1, F, F, F", "F F F A": "A, F, F, F", "1 F F 1": "2, F, F, F"}, real(6)),
    *_bags(1, {"1 F F": "1, F, F, F", "A F F": "A, F, F, F"}),
    *_bags(2, {"1 F F": "1, F, F, 0", "A F F": refused(BEND)}),
    case("aten.index.Tensor", real(3, 4), [index(2, below=3)], table=READ),
    case("aten.index.Tensor", real(3, 4), [None, index(2, below=4)], table=READ),
    case(
        "aten.index.Tensor",
        real(3, 4),
        [index(2, below=3), index(2, below=4)],
        table={"1 F F": "1", "1 F 0": "1", "A F F": "A", "A 0 F": refused("depends on the input")},
    ),
    case("aten._unsafe_index.Tensor", real(3, 4), [index(2, below=3)], table=READ),
    case("aten.index_select.default", real(3, 4), 0, index(2, below=3), table=READ),
    case("aten.gather.default", real(3, 4), 0, index(2, 4, below=3), table=READ),
    case("aten.embedding.default", real(5, 4), index(2, 3, below=5), table=READ),
    case(
        "aten.max_unpool2d.default",
        real(1, 1, 2, 2),
        index(1, 1, 2, 2, below=16),
        [4, 4],
        table=READ,
    ),
    case(
        "aten.max_unpool3d.default",
        *(real(1, 1, 2, 2, 2), index(1, 1, 2, 2, 2, below=64)),
        *([4, 4, 4], [2, 2, 2], [0, 0, 0]),
        table=READ,
    ),
    case("aten.take.default", real(3, 4), index(2, 3, below=12), table=READ),
    case(
        "aten.masked_select.default",
        real(3, 4),
        mask(3, 4),
        table={"1 F": "1", "A F": "A", "1 0": "1"},
    ),
    case("aten.nonzero.default", coarse(3, 4), table={"1": "0", "2": "0", "A": refused(BEND)}),
    case("aten.grid_sampler_2d.default", IMAGE, GRID, 0, 0, False, table=SAMPLED),
    case(
        "aten.cudnn_grid_sampler.default",
        IMAGE,
        GRID,
        via=lambda image, grid: torch.grid_sampler_2d(image, grid, 0, 0, True),
        by_hand=True,
        # Its value at the baseline would be asked of a GPU.
        table={motions: found for motions, found in SAMPLED.items() if "A" not in motions},
    ),
    case("aten.grid_sampler_3d.default", VOLUME, PLACES_IN_IT, 0, 0, False, table=SAMPLED),
    case("aten.any.default", coarse(3, 4), table=TRUE_SOMEWHERE),
    case("aten.any.dim", coarse(3, 4), 1, table=TRUE_SOMEWHERE),
    case("aten.any.dims", coarse(3, 4), [1], table=TRUE_SOMEWHERE),
    case("aten.all.default", coarse(3, 4), table=TRUE_SOMEWHERE),
    case("aten.all.dim", coarse(3, 4), 1, table=TRUE_SOMEWHERE),
    case("aten.all.dims", coarse(3, 4), [1], table=TRUE_SOMEWHERE),
    case("aten.bucketize.Tensor", real(3, 4), share(5), table=ORDERED),
    case("aten.searchsorted.Tensor", share(5), real(3, 4), table=ORDERED),
    case("aten.count_nonzero.default", coarse(3, 4), table=COUNT),
    case("aten.count_nonzero.dim_IntList", coarse(3, 4), [1], table=COUNT),
    case("aten.isin.Tensor_Tensor", coarse(3, 4), coarse(3), table=ORDERED),
    case("aten.isin.Tensor_Scalar", coarse(3, 4), 0.0, table={"1": "0", "A": refused(BEND)}),
    case("aten.isin.Tensor_Scalar", coarse(3, 4), 1.0, table={"1": refused(ORDERED["1 F"].reason)}),
    case("aten.isin.Scalar_Tensor", 0.0, coarse(3, 4), table={"1": "0", "A": cautious(BEND)}),
    case(
        "aten.nll_loss_forward.default",
        *(real(3, 4), index(3, below=4), None, 0, -100),
        table={"1 F": "1, F", "A F": "A, F", "1 0": "1, 0", "A 0": refused("a choice")},
    ),
    case(
        "aten.nll_loss_forward.default",
        *(real(3, 4), index(3, below=4), positive(4), 1, 2),
        table={
            "1 F F": "1, F",
            "2 0 F": "2, 0",
            "A F F": "A, F",
            "F 0 F": "0, 0",
            "1 F 1": cautious("weights of classes that move"),
        },
    ),
    case(
        "aten.nll_loss2d_forward.default",
        *(real(1, 3, 2, 2), index(1, 2, 2, below=3), None, 1, -100),
        table={"1 F": "1, F", "A F": "A, F", "1 0": "1, 0"},
    ),
]
