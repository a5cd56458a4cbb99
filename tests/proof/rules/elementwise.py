"""Element by element."""

from __future__ import annotations

import math

import torch

from rules.case import (
    Case,
    Expected,
    Value,
    case,
    cautious,
    coarse,
    imaginary,
    positive,
    real,
    refused,
)
from rules.law_tables import (
    BEND,
    COMPARISON,
    HOMOGENEOUS,
    LINEAR,
    SHARED,
    SHARED_WITH_ZERO,
    SIGN,
    SUM,
    UNEQUAL,
    scaled,
)

SHRINK = ("softshrink", "hardshrink")


def everywhere(number: float) -> Value:
    """The same number in every entry."""
    return Value((3, 4), lambda g, s: torch.full(s, number, dtype=torch.float64))


COMPARE = "a comparison with something other than zero"
NEVER: dict[str, Expected] = {"1": "0", "-1": "0", "A": cautious(BEND)}
"""What is false of every finite number."""

SIGNS = [
    *(case(f"aten.{op}.default", real(), table=SIGN) for op in ("sign", "sgn", "signbit", "angle")),
    *(case(f"aten.{op}.default", imaginary(), table=SIGN) for op in ("sgn", "angle")),
    *(
        case(f"aten.{op}.default", real(), table=NEVER)
        for op in ("isnan", "isinf", "isfinite", "isposinf", "isneginf", "logical_not")
    ),
]

STEP: dict[str, Expected] = {
    "1 F": "0",
    "2 0": "0",
    "F 1": "A",
    "F A": "A",
    "A F": refused(BEND),
    "1 1": refused("a choice that depends on the input"),
}
SIGNS.append(case("aten.heaviside.default", coarse(4, 5), coarse(4, 5), table=STEP))

AGAINST_ONE: dict[str, Expected] = {"1": refused(COMPARE), "2": refused(COMPARE)}


def _comparisons() -> list[Case]:
    cases = []
    for op in ("eq", "ne", "lt", "le", "gt", "ge"):
        cases += [
            case(f"aten.{op}.Tensor", coarse(4, 5), coarse(4, 5), table=COMPARISON),
            case(f"aten.{op}.Scalar", coarse(4, 5), 0, table=SIGN),
            case(f"aten.{op}.Scalar", coarse(4, 5), 1.0, table=AGAINST_ONE),
        ]
    return cases


TRUTH = COMPARISON | {"1 F": cautious(COMPARE), "1 2": cautious(COMPARE)}
COMPARISONS = [
    *_comparisons(),
    case("aten.atan2.default", real(), real(), table=COMPARISON),
    *(
        case(f"aten.logical_{op}.default", coarse(4, 5), coarse(4, 5), table=TRUTH)
        for op in ("and", "or", "xor")
    ),
    case("aten.isclose.default", coarse(4, 5), coarse(4, 5), 1e-5, 0.0, table=COMPARISON),
    case(
        "aten.isclose.default",
        coarse(4, 5),
        coarse(4, 5),
        1e-5,
        0.5,
        table={"1 1": refused("an absolute tolerance")},
    ),
]

BENT = [
    case("aten.relu.default", real(), table=HOMOGENEOUS),
    case("aten.abs.default", real(), table=HOMOGENEOUS),
    case("aten.abs.default", imaginary(), table=HOMOGENEOUS),
    case("aten.leaky_relu.default", real(), 0.2, table=HOMOGENEOUS),
    case(
        "aten.rrelu_with_noise.default",
        real(),
        real(),
        table={"1 F": "1", "2 F": "2", "A F": refused(BEND)},
    ),
    case(
        "aten.rrelu_with_noise.default",
        real(),
        real(),
        0.1,
        0.3,
        True,
        table={"1 F": cautious("random")},
    ),
    *(
        case(
            op,
            real(3, 4),
            real(4),
            table={
                "1 F": "1",
                "2 0": "2",
                "A F": refused(BEND),
                "F 1": cautious("a slope that moves"),
                "1 1": refused("a slope that moves"),
            },
        )
        for op in ("aten.prelu.default", "aten._prelu_kernel.default")
    ),
]

JOINT = [
    *(
        case(f"aten.{op}.default", real(), real(), table=SHARED_WITH_ZERO)
        for op in ("maximum", "minimum", "fmax", "fmin", "hypot")
    ),
    *(case(f"aten.{op}.Tensor", real(), real(), table=SHARED) for op in ("fmod", "remainder")),
    *(
        case(f"aten.{op}.Scalar", real(), 0.5, table={"1": refused(UNEQUAL), "A": refused(BEND)})
        for op in ("fmod", "remainder")
    ),
    case("aten.remainder.Scalar_Tensor", 2.0, positive(), table={"1": refused(UNEQUAL)}),
    case(
        "aten.copysign.Tensor", real(), real(),
        table={"1 1": "1", "1 2": "1", "2 F": "2", "F 1": "0", "F 2": "0", "A F": refused(BEND), "1 A": refused(BEND)},
    ),
]  # fmt: skip

BOUND = "a bound is neither 0 nor absent"
SIX = "the bound 6.0 is neither 0 nor absent"
SIGN_OF_NUMBER: dict[str, Expected] = {"1": "1", "2": "2", "A": refused(BEND)}
JOINT.append(case("aten.copysign.Scalar", real(), -2.0, table=SIGN_OF_NUMBER))

CLAMPS = [
    case("aten.clamp.default", real(), 0, table=HOMOGENEOUS),
    case("aten.clamp.default", real(), None, 0.0, table=HOMOGENEOUS),
    case("aten.clamp.default", real(), 0.0, math.inf, table=HOMOGENEOUS),
    case("aten.clamp.default", real(), None, math.inf, table={"1": "1", "A": cautious(BEND)}),
    case("aten.clamp.default", real(), 0.0, 6.0, table={"1": cautious(SIX), "A": cautious(SIX)}),
    case(
        "aten.clamp.default", real(), -0.5, None, table={"1": refused("the bound -0.5 is neither")}
    ),
    case(
        "aten.clamp.Tensor",
        real(),
        real(),
        table={
            "1 1": "1",
            "1 Z": "1",
            "2 2": "2",
            "F 1": refused(BOUND),
            "1 F": refused(BOUND),
            "1 2": refused(BOUND),
            "A Z": refused(BEND),
        },
    ),
    *(
        case(
            f"aten.clamp_{side}.Tensor",
            real(),
            real(),
            table={"1 1": "1", "1 Z": "1", "1 F": refused(BOUND), "A Z": refused(BEND)},
        )
        for side in ("min", "max")
    ),
    case("aten.clamp.Tensor", real(), None, real(), table={"1 1": "1", "1 F": refused(BOUND)}),
    case(
        "aten.clamp.Tensor",
        real(),
        real(),
        real(),
        table={"1 1 1": "1", "1 1 Z": "1", "1 F 1": refused(BOUND)},
    ),
    case("aten.clamp_min.default", real(), 0.0, table=HOMOGENEOUS),
    case("aten.clamp_min.default", real(), 0.5, table={"1": refused("the bound 0.5 is neither")}),
    case("aten.clamp_max.default", real(), 0.0, table=HOMOGENEOUS),
    case("aten.clamp_max.default", real(), 0.5, table={"1": refused("the bound 0.5 is neither")}),
    case("aten.hardtanh.default", real(), table={"1": refused("the bound -1 is neither")}),
    case(
        "aten.hardtanh.default", real(), 0.0, 0.5, table={"1": refused("the bound 0.5 is neither")}
    ),
    case("aten.hardtanh.default", real(), 0.0, math.inf, table=HOMOGENEOUS),
    case("aten.threshold.default", real(), 0.0, 0.0, table=HOMOGENEOUS),
    *(
        case(f"aten.{name}.default", real(), 0.0, table=HOMOGENEOUS | {"A": cautious(BEND)})
        for name in SHRINK
    ),
    *(
        case(f"aten.{name}.default", real(), 0.3, table={"1": refused("a threshold that is not 0")})
        for name in SHRINK
    ),
    case(
        "aten.threshold.default",
        real(),
        0.0,
        1.0,
        table={"1": refused("a choice that depends on the input")},
    ),
    case("aten.threshold.default", real(), 0.5, 0.0, table={"1": refused(COMPARE)}),
]

POWERS = [
    case("aten.sqrt.default", positive(), table=scaled("1/2")),
    case("aten.rsqrt.default", positive(), table=scaled("-1/2")),
    case("aten.reciprocal.default", positive(), table=scaled("-1")),
    case("aten.square.default", real(), table=scaled("2")),
    case("aten.pow.Tensor_Scalar", positive(), 3, table=scaled("3")),
    case("aten.pow.Tensor_Scalar", positive(), 1 / 3, table=scaled("1/3")),
    case("aten.pow.Tensor_Scalar", positive(), 0.1, table=scaled("1/10")),
    case("aten.pow.Tensor_Scalar", positive(), -1.5, table=scaled("-3/2")),
    case("aten.pow.Tensor_Scalar", real(), 1, table=LINEAR),
    case("aten.pow.Tensor_Scalar", positive(), 0, table={"1": "0", "A": cautious(BEND)}),
    case(
        "aten.pow.Tensor_Scalar",
        positive(),
        math.nan,
        table={"1": cautious("no finite real number")},
    ),
    case(
        "aten.pow.Tensor_Tensor",
        positive(),
        positive(),
        table={
            "1 F": refused("whose exponent is a tensor"),
            "F 1": refused("whose exponent is a tensor"),
            "1 1": refused("whose exponent is a tensor"),
        },
    ),
    case(
        "aten.pow.Tensor_Tensor",
        positive(),
        everywhere(2.0),
        table={"1 F": "2", "2 F": "4", "A F": refused(BEND)},
    ),
    case(
        "aten.pow.Tensor_Tensor",
        positive(),
        everywhere(0.5),
        table={"1 F": "1/2", "2 F": "1", "F 1": refused("whose exponent is a tensor")},
    ),
    case("aten.pow.Tensor_Tensor", positive(), everywhere(1.0), table={"1 F": "1", "A F": "A"}),
    case("aten.pow.Scalar", 2.0, positive(), table={"1": refused("whose exponent is a tensor")}),
    case(
        "aten.ldexp.Tensor",
        real(),
        coarse(),
        table={
            "1 F": "1",
            "2 0": "2",
            "A F": "A",
            "A 0": refused("a product of a tensor whose value at the baseline is not zero"),
            "F 1": refused("an exponent that moves"),
            "1 1": refused("an exponent that moves"),
        },
    ),
]

OVER = "a division by a tensor whose value at the baseline is not zero"
QUOTIENT: dict[str, Expected] = {
    "1 F": "1",
    "2 1": "1",
    "1 1": "0",
    "F 1": "-1",
    "1/2 2": "-3/2",
    "A F": "A",
    "A 1": refused("a product of a tensor whose value at the baseline is not zero"),
    "1 A": refused(OVER),
    "A A": refused(OVER),
    "F A": refused(OVER),
}
ROUNDED: dict[str, Expected] = {
    "1 1": "0",
    "2 2": "0",
    "Z 1": "F",
    "1 F": refused(UNEQUAL),
    "1 2": refused(UNEQUAL),
    "A F": refused(BEND),
}
QUOTIENTS = [
    case("aten.div.Tensor", positive(), positive(), table=QUOTIENT),
    case("aten.div.Scalar", real(), 2.0, table=LINEAR),
    case("aten.true_divide.Tensor", positive(), positive(), table=QUOTIENT),
    case("aten.div.Tensor_mode", positive(), positive(), rounding_mode=None, table=QUOTIENT),
    case("aten.div.Tensor_mode", real(), real(), rounding_mode="floor", table=ROUNDED),
    case("aten.div.Tensor_mode", real(), real(), rounding_mode="trunc", table=ROUNDED),
    case("aten.floor_divide.default", real(), real(), table=ROUNDED),
    case("aten.div.Scalar_mode", real(), 0.3, rounding_mode="floor", table={"1": refused(UNEQUAL)}),
    case("aten.div.Scalar_mode", real(), 0.3, rounding_mode=None, table=LINEAR),
]

COMPLEX = [
    case("aten.complex.default", real(), real(), table=SUM),
    case(
        "aten.polar.default",
        positive(),
        real(),
        table={
            "1 F": "1",
            "2 0": "2",
            "A F": cautious(BEND),
            "A 0": refused(BEND),
            "F 1": refused("a mask or index that moves"),
            "F A": refused("a mask or index computed from"),
        },
    ),
]

FINITE = refused("infinite values are replaced by finite ones")
REPLACED = [
    case(
        "aten.nan_to_num.default",
        real(),
        0.0,
        math.inf,
        -math.inf,
        table=HOMOGENEOUS | {"A": cautious(BEND)},
    ),
    case("aten.nan_to_num.default", real(), table={"1": cautious(FINITE.reason)}),
    case("aten.nan_to_num.default", real(), 3.0, 0.0, 0.0, table={"1": cautious("replaced by")}),
]

CASES = SIGNS + COMPARISONS + BENT + JOINT + CLAMPS + POWERS + QUOTIENTS + COMPLEX + REPLACED
