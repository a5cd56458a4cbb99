"""Random motions, and scalar functions of the place on the ray that obey them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from captum_xdnn.proof.domain import FIXED, Affine, Fixed, Motion, Power, Unknown
from captum_xdnn.proof.operand import Operand

degrees = st.fractions(min_value=-3, max_value=3, max_denominator=3)
claims = st.one_of(
    st.just(FIXED),
    st.just(Affine()),
    degrees.map(Power),
    st.sampled_from([Power(0), Power(1), Power(1), Power(2)]),
)
pairs = st.one_of(st.tuples(claims, claims), claims.map(lambda claim: (claim, claim)))
"""Half of them alike: of two that differ, most laws claim nothing."""
motions = st.one_of(claims, st.just(Unknown("nobody knows")))


class Still:
    """Stands in for the values at the baseline where a law asks whether an operand is zero."""

    def __init__(self, zero: bool) -> None:
        self.zero = zero

    def vanishes(self, function: Any, operands: Any) -> bool:
        return self.zero


def operand(motion: Motion, *, zero: bool = False) -> Operand:
    return Operand(motion, None, Still(zero))  # type: ignore[arg-type]


ZERO = operand(FIXED, zero=True)
SOMETHING = operand(FIXED)

arguments = st.one_of(
    motions, st.sampled_from([0, 0.0, 2, -1.5]), st.just(ZERO), st.just(SOMETHING)
)

numbers = st.sampled_from([Fraction(n, 4) for n in range(-12, 13) if n])
Course = Callable[[float], float]


def course(motion: Motion, start: Fraction, end: Fraction) -> Course:
    """A function of ``a`` with this motion; only the ends depend on the input."""
    if isinstance(motion, Fixed):
        return lambda a: float(start)
    if isinstance(motion, Affine):
        return lambda a: float(start) + a * (float(end) - float(start))
    assert isinstance(motion, Power)
    return lambda a: float(end) * a ** float(motion.degree)


def obeys(motion: Motion, function: Course, start: float | None) -> bool:
    """Whether a function moves like this; ``start`` is its value at the baseline, if any."""
    at_end = function(1.0)
    for a in (0.9, 0.5, 0.1):
        if isinstance(motion, Fixed):
            expected = at_end
        elif isinstance(motion, Affine):
            if start is None:
                return False
            expected = start + a * (at_end - start)
        else:
            assert isinstance(motion, Power)
            expected = at_end * a ** float(motion.degree)
        if abs(function(a) - expected) > 1e-9 * max(1.0, abs(expected), abs(at_end)):
            return False
    return True
