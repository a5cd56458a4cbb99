"""Extremes, sorting, max pooling."""

from __future__ import annotations

import torch

from rules.case import Case, Expected, case, coarse, real, refused, share
from rules.law_tables import BEND, HOMOGENEOUS, SIGN

WITH_POSITIONS: dict[str, Expected] = {"1": "1, 0", "2": "2, 0", "-1": "-1, 0", "A": refused(BEND)}
BOTH: dict[str, Expected] = {"1": "1, 1", "1/2": "1/2, 1/2", "A": refused(BEND)}
BETWEEN: dict[str, Expected] = {
    "1 F": "1",
    "2 F": "2",
    "A F": refused(BEND),
    "F 1": refused("a mask or index that moves"),
}
X = real(3, 5)


def _pools() -> list[Case]:
    images = {n: real(1, 2, *(4,) * n) for n in (1, 2, 3)}
    cases = []
    for n, image in images.items():
        size = [2] * n
        cases += [
            case(f"aten.max_pool{n}d.default", image, size, table=HOMOGENEOUS),
            case(f"aten.max_pool{n}d.default", image, size, [1] * n, [1] * n, table=HOMOGENEOUS),
            case(f"aten.max_pool{n}d_with_indices.default", image, size, table=WITH_POSITIONS),
            case(f"aten.adaptive_max_pool{n}d.default", image, size, table=WITH_POSITIONS),
        ]
    return cases


SAMPLED: dict[str, Expected] = {
    "1 F": "1, 0",
    "2 F": "2, 0",
    "A F": refused(BEND),
    "1 0": "1, 0",
    "F 1": refused("a mask or index that moves"),
    "1 1": refused("a mask or index that moves"),
}


def _sampled(n: int, *args: object, table: dict[str, Expected]) -> Case:
    """The operation takes no samples that ask for a gradient, as inputs of a trace do."""
    name = f"aten.fractional_max_pool{n}d.default"
    overload = getattr(torch.ops.aten, f"fractional_max_pool{n}d").default
    via = lambda x, size, output, samples: overload(x, size, output, samples.detach())  # noqa: E731
    return case(name, *args, via=via, table=table)


CASES = [
    *(case(f"aten.{op}.default", X, [1], table=HOMOGENEOUS) for op in ("amax", "amin")),
    *(
        case(f"aten.{op}.default", X, table=HOMOGENEOUS)
        for op in ("max", "min", "median", "nanmedian")
    ),
    *(
        case(f"aten.{op}.dim", X, 1, table=WITH_POSITIONS)
        for op in ("max", "min", "median", "nanmedian")
    ),
    case("aten.sort.default", X, 1, True, table=WITH_POSITIONS),
    case("aten.sort.stable", X, stable=True, dim=0, table=WITH_POSITIONS),
    case("aten.topk.default", X, 2, table=WITH_POSITIONS),
    *(
        case(f"aten.{name}.scalar", X, 0.3, 1, interpolation=way, table=HOMOGENEOUS)
        for name in ("quantile", "nanquantile")
        for way in ("linear", "nearest")
    ),
    *(
        case(f"aten.{name}.default", X, share(2), 1, table=BETWEEN)
        for name in ("quantile", "nanquantile")
    ),
    case("aten.kthvalue.default", X, 2, table=WITH_POSITIONS),
    case("aten.cummax.default", X, 1, table=WITH_POSITIONS),
    case("aten.cummin.default", X, 1, table=WITH_POSITIONS),
    case("aten.mode.default", coarse(4, 7), table=WITH_POSITIONS),
    case("aten.aminmax.default", X, dim=1, table=BOTH),
    *(case(f"aten.{op}.default", X, 1, table=SIGN) for op in ("argmax", "argmin", "argsort")),
    case("aten.histc.default", X, 4, table=SIGN),
    case("aten.histc.default", X, 4, -1.0, 1.0, table={"1": refused("a count between bounds")}),
    *_pools(),
    _sampled(2, real(1, 1, 9, 9), [2, 2], [3, 3], share(1, 1, 2), table=SAMPLED),
    _sampled(3, real(1, 1, 9, 9, 9), [2, 2, 2], [3, 3, 3], share(1, 1, 3), table=SAMPLED),
]
