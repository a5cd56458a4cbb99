"""What the laws say of the motions of one, two or three operands."""

from __future__ import annotations

from fractions import Fraction

from rules.case import Expected, refused

BEND = "a bend away from zero"
UNEQUAL = "parts that move differently meet"
CHOICE = "a choice that depends on the input between parts that move differently"


def scaled(degree: str) -> dict[str, Expected]:
    """Homogeneous of this degree, and never of an affine tensor."""
    return {k: str(Fraction(k) * Fraction(degree)) for k in ("1", "2", "1/2", "-1")} | {
        "A": refused(BEND)
    }


HOMOGENEOUS = scaled("1")
LINEAR: dict[str, Expected] = {"1": "1", "2": "2", "-1/2": "-1/2", "A": "A"}
SIGN: dict[str, Expected] = {"1": "0", "2": "0", "-1": "0", "A": refused(BEND)}

SUM: dict[str, Expected] = {
    "1 1": "1",
    "2 2": "2",
    "1/2 1/2": "1/2",
    "1 Z": "1",
    "Z 2": "2",
    "1 F": "A",
    "F 1": "A",
    "A F": "A",
    "A 1": "A",
    "A A": "A",
    "1 2": refused(UNEQUAL),
    "2 F": refused(UNEQUAL),
    "1 0": refused(UNEQUAL),
    "A 0": refused(UNEQUAL),
    "A 2": refused(UNEQUAL),
}

SHARED: dict[str, Expected] = {
    "1 1": "1",
    "2 2": "2",
    "-1 -1": "-1",
    "1 2": refused(UNEQUAL),
    "1 F": refused(UNEQUAL),
    "A F": refused(BEND),
    "A 1": refused(BEND),
}
SHARED_WITH_ZERO = SHARED | {"1 Z": "1", "Z 2": "2", "A Z": refused(BEND)}

COMPARISON: dict[str, Expected] = {
    "1 1": "0",
    "2 2": "0",
    "1 Z": "0",
    "Z 2": "0",
    "1 F": refused("a comparison with something other than zero"),
    "1 2": refused("a comparison with something other than zero"),
    "A F": refused(BEND),
    "A 1": refused(BEND),
}

PRODUCT: dict[str, Expected] = {
    "1 F": "1",
    "F 2": "2",
    "1 1": "2",
    "1 -1": "0",
    "1/2 2": "5/2",
    "0 2": "2",
    "A F": "A",
    "F A": "A",
    "A 1": refused("a product of a tensor whose value at the baseline is not zero"),
    "A A": refused("a product of a tensor whose value at the baseline is not zero"),
    "0 A": refused("a product of a tensor whose value at the baseline is not zero"),
}

READ: dict[str, Expected] = {
    "1 F": "1",
    "2 F": "2",
    "A F": "A",
    "1 0": "1",
    "F 0": "0",
    "A 0": refused("depends on the input"),
}
"""A tensor, then the index or mask that it is read with."""

WRITTEN: dict[str, Expected] = {
    "1 F 1": "1",
    "1 F F": "A",
    "F F 1": "A",
    "Z F 2": "2",
    "A F F": "A",
    "1 F 2": refused(UNEQUAL),
    "1 0 1": "1",
    "1 0 Z": "1",
    "Z 0 2": "2",
    "1 0 F": refused(CHOICE),
    "A 0 A": refused(CHOICE),
}
"""A tensor, the index or mask of the entries to write, and what is written there."""
