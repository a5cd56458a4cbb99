"""The laws that rules are made of; each takes operands, motions or literals.

Section numbers refer to *The engine* in the documentation. ``k``, ``j`` are degrees, ``F`` a
fixed tensor, ``A`` an affine one.
"""

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from torch import Tensor

from captum_xdnn.proof.domain import (
    FIXED,
    SCALE_INVARIANT,
    Affine,
    Motion,
    Power,
    Unknown,
    is_constant,
)
from captum_xdnn.proof.operand import Operand, is_zero, motion_of

BEND = (
    "a bend away from zero: the value at the baseline is not zero in front of a function "
    "that is only positively homogeneous"
)


def homogeneous(argument: Any, degree: Fraction | int = 1) -> Motion:
    """``f(a t) = a**degree f(t)`` for ``a > 0``: ``k -> degree * k``; never an affine tensor."""
    motion = motion_of(argument)
    if isinstance(motion, Power):
        return Power(motion.degree * degree)
    if isinstance(motion, Affine):
        return Unknown(BEND)
    return motion


def linear(argument: Any) -> Motion:
    """``f(s + t) = f(s) + f(t)``, ``f(c t) = c f(t)``: any motion passes."""
    return motion_of(argument)


def constant(*arguments: Any) -> Motion:
    """Decided by signs or order alone: a scale that all arguments share changes nothing."""
    joint = shared(*arguments)
    return SCALE_INVARIANT if isinstance(joint, Power) else joint


def shared(*arguments: Any) -> Motion:
    """``f(c s, c t) = c f(s, t)``, ``c > 0``: arguments of one degree; 0 and inf have every degree."""
    moving = {motion_of(a) for a in arguments if not (_is_neutral(a) or _is_boundless(a))}
    if not moving or moving == {FIXED}:
        return FIXED
    if all(is_constant(motion) for motion in moving):
        return SCALE_INVARIANT
    if any(isinstance(motion, Affine) for motion in moving):
        return Unknown(BEND)
    if len(moving) == 1:
        return moving.pop()
    return _unequal(moving)


def product(first: Any, second: Any) -> Motion:
    """Bilinear: degrees add; ``F x A`` is affine; ``A`` times anything that moves is unknown."""
    one, two = motion_of(first), motion_of(second)
    if FIXED in (one, two):
        return two if one == FIXED else one
    if isinstance(one, Power) and isinstance(two, Power):
        return Power(one.degree + two.degree)
    if isinstance(one, Unknown) or isinstance(two, Unknown):
        return one if isinstance(one, Unknown) else two
    return Unknown(
        "a product of a tensor whose value at the baseline is not zero with one that moves"
    )


def quotient(numerator: Any, denominator: Any) -> Motion:
    """Degrees subtract; the numerator may be affine over a fixed denominator."""
    below = motion_of(denominator)
    if isinstance(below, Affine):
        return Unknown(
            "a division by a tensor whose value at the baseline is not zero",
            "remove what is added to the denominator (an eps, a bias)",
        )
    if isinstance(below, Power):
        return product(numerator, Power(-below.degree))
    return linear(numerator) if below == FIXED else below


def added(*terms: Any) -> Motion:
    """Sums, also those laid side by side: see :func:`merged`; zero is neutral."""
    return merged(terms)


def merged(terms: Iterable[Any]) -> Motion:
    """Parts put together by addition or concatenation, under a pattern that does not move.

    Equal motions pass; fixed, affine and degree 1 mix to affine; constants stay constant. Zero
    is neutral, and so is an infinite literal: what max pooling pads with.
    """
    parts = [term for term in terms if not _is_neutral(term)]
    motions = {motion_of(part) for part in parts}
    if not motions or motions == {FIXED}:
        return FIXED
    if len(motions) == 1:
        return motions.pop()
    unknown = [motion for motion in motions if isinstance(motion, Unknown)]
    if unknown:
        return unknown[0]
    if all(is_constant(motion) for motion in motions):
        return SCALE_INVARIANT
    if motions <= {FIXED, Power(1), Affine()}:
        causes = [m.cause for m in motions if isinstance(m, Affine)]
        return Affine(causes[0] if causes else _added_constant(parts))
    return _unequal(motions)


def switched(mask: Any, *branches: Any) -> Motion:
    """Each entry from one of the branches, as the mask says; the mask must not move.

    Under a mask that depends on the input, affine parts have no known value at the baseline,
    and fixed parts may only be zero beside moving ones.
    """
    law = motion_of(mask)
    if isinstance(law, Affine):
        return Unknown(
            "a mask or index computed from a tensor whose value at the baseline is not zero"
        )
    if isinstance(law, Power) and law.degree != 0:
        return Unknown("a mask or index that moves")
    if isinstance(law, Unknown):
        return law
    joint = merged(branch for branch in branches if not _is_boundless(branch))
    if law == FIXED:
        return joint
    if isinstance(joint, Affine):
        return Unknown(
            "a choice that depends on the input between parts that move differently",
            "let the branches be equally homogeneous, as in relu and leaky_relu",
        )
    return SCALE_INVARIANT if joint == FIXED else joint


def _is_neutral(argument: Any) -> bool:
    """Whether ``c t = t`` for every ``c > 0``, as of a zero or an infinite number."""
    return is_zero(argument) or (isinstance(argument, float) and math.isinf(argument))


def _is_boundless(argument: Any) -> bool:
    """The same of a tensor of which some entries are infinite; biases are not asked."""
    if not isinstance(argument, Operand) or argument.motion != FIXED:
        return False
    return argument.vanishes(_finite_entries)


def _finite_entries(value: Tensor) -> Tensor:
    return value.masked_fill(value.isinf(), 0)


def _added_constant(parts: list[Any]) -> str:
    literals = [p for p in parts if isinstance(p, int | float | complex)]
    if literals:
        return f"the constant {literals[0]} is added"
    return "something that does not move and is not zero is added (a bias or shift)"


def _unequal(motions: set[Motion]) -> Unknown:
    named = ", ".join(sorted(str(motion) for motion in motions))
    return Unknown(f"parts that move differently meet: {named}")
