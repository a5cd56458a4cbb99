"""Regions of feature maps, where torchvision is installed."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

import torch

from rules.case import Expected, Value, case, cautious, real, refused, share
from rules.law_tables import BEND

with suppress(ImportError):
    import_module("torchvision")

BOXES_MOVE, PLACES_MOVE = "the boxes are computed", "the places of sampling are computed"


def boxes() -> Value:
    """Two boxes in the first of the images."""

    def draw(generator: torch.Generator, shape: tuple[int, ...]) -> torch.Tensor:
        corners = 2 * torch.rand(shape, generator=generator, dtype=torch.float64)
        return torch.cat([0 * corners[:, :1], corners[:, 1:3], 3 + corners[:, 3:]], 1)

    return Value((2, 5), draw)


LINEAR: dict[str, Expected] = {
    "1 F": "1",
    "2 F": "2",
    "A F": "A",
    "F 1": cautious(BOXES_MOVE),
    "1 1": cautious(BOXES_MOVE),
}
WITH_CHANNELS: dict[str, Expected] = {
    "1 F": "1, F",
    "A F": "A, F",
    "1 1": cautious(BOXES_MOVE),
}
MAXIMA: dict[str, Expected] = {"1 F": "1, 0", "2 F": "2, 0", "A F": refused(BEND)}
IMAGE, BANK = real(1, 2, 6, 6), real(1, 8, 6, 6)
SAMPLED = (real(1, 2, 5, 5), real(3, 2, 3, 3), share(1, 18, 3, 3), share(1, 9, 3, 3))
REST = (1, 1, 0, 0, 1, 1, 1, 1)

CORNERS = Value((4, 4), lambda g, s: torch.rand(s, generator=g, dtype=torch.float64).cumsum(1))
KEPT: dict[str, Expected] = {"1 1": "0", "2 1": "0", "F 1": "0", "1 F": "0", "A F": refused(BEND)}

CASES = [
    case("torchvision.nms.default", CORNERS, share(4), 0.3, table=KEPT),
    case("torchvision.roi_align.default", IMAGE, boxes(), 1.0, 2, 2, 2, True, table=LINEAR),
    case("torchvision.ps_roi_align.default", BANK, boxes(), 1.0, 2, 2, 2, table=WITH_CHANNELS),
    case("torchvision.ps_roi_pool.default", BANK, boxes(), 1.0, 2, 2, table=WITH_CHANNELS),
    case("torchvision.roi_pool.default", IMAGE, boxes(), 1.0, 2, 2, table=MAXIMA),
    case(
        "torchvision.deform_conv2d.default",
        *SAMPLED,
        real(3),
        *REST,
        True,
        table={
            "1 F F F Z": "1",
            "1 F F F F": "A",
            "A F F F F": "A",
            "1 F F 1 Z": "2",
            "F 1 F 0 Z": "1",
            "1 F 1 F Z": refused(PLACES_MOVE),
        },
    ),
]
