"""Element by element: quotients, powers, comparisons, and what bends at zero.

Rows of what torch tags as pointwise need no entry here.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from captum_xdnn.proof.domain import CONSTANT, FIXED, Affine, Motion, Unknown, is_constant
from captum_xdnn.proof.laws import (
    BEND,
    added,
    constant,
    homogeneous,
    quotient,
    shared,
    switched,
)
from captum_xdnn.proof.operand import is_zero, motion_of
from captum_xdnn.proof.registry import CHOICE, SCALED, law
from captum_xdnn.proof.row_laws import entrywise

RELU6 = "replace it by a ReLU, which has no upper bound"
UNBOUND = "let the bound be 0, or leave it out"


@law("relu abs leaky_relu", pieces=CHOICE)
def _bent_at_zero(self: Any, *_: Any, **__: Any) -> Motion:
    """Positively homogeneous of degree 1."""
    return homogeneous(self)


@law("prelu _prelu_kernel", rows=entrywise, pieces=SCALED)
def _prelu(self: Any, weight: Any) -> Motion:
    """Degree 1 while the slope does not move."""
    slope = motion_of(weight)
    if is_constant(slope):
        return homogeneous(self)
    return Unknown("a slope that moves")


@law("rrelu_with_noise", rows=entrywise, overwrites=1)
def _rrelu(
    self: Any,
    noise: Any,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    generator: Any = None,
) -> Motion:
    """A leaky ReLU in evaluation mode, where the noise is neither written nor read."""
    del noise, lower, upper, generator
    if training:
        return Unknown("the slopes are random", "call model.eval()")
    return homogeneous(self)


@law("sign sgn isnan isinf isfinite isposinf isneginf signbit logical_not angle")
def _of_sign(self: Any) -> Motion:
    """A positive scale changes neither sign nor finiteness."""
    return constant(self)


@law("eq.Tensor ne.Tensor lt.Tensor le.Tensor gt.Tensor ge.Tensor")
@law("eq.Scalar ne.Scalar lt.Scalar le.Scalar gt.Scalar ge.Scalar")
@law("atan2 logical_and logical_or logical_xor")
def _comparison(self: Any, other: Any) -> Motion:
    """Against zero, or between tensors of equal degree: constant."""
    outcome = constant(self, other)
    if isinstance(outcome, Unknown) and outcome.reason != BEND:
        return Unknown(
            "a comparison with something other than zero that moves differently",
            "compare with 0, or compare tensors that scale alike",
            CONSTANT,
        )
    return outcome


@law("maximum minimum", pieces=CHOICE)
@law("fmax fmin hypot fmod.Tensor fmod.Scalar remainder.Tensor remainder.Scalar")
def _jointly_homogeneous(self: Any, other: Any) -> Motion:
    """Degree 1 in both arguments together."""
    return shared(self, other)


@law("copysign.Tensor copysign.Scalar")
def _copysign(self: Any, other: Any) -> Motion:
    """The size of one, the sign of the other."""
    sign = motion_of(other)
    if isinstance(sign, Unknown | Affine):
        return sign if isinstance(sign, Unknown) else Unknown(BEND)
    size = homogeneous(self)
    return CONSTANT if size == FIXED and sign != FIXED else size


@law("clamp", pieces=CHOICE)
@law("clamp.Tensor")
def _clamp(self: Any, min: Any = None, max: Any = None) -> Motion:
    """Degree 1 when every bound is zero, infinite or scales alike."""
    bounds = [b for b in (min, max) if b is not None and not _infinite(b)]
    joint = shared(self, *bounds)
    offending = [b for b in bounds if not is_zero(b)]
    if isinstance(joint, Unknown) and offending and not isinstance(motion_of(self), Unknown):
        literal = [b for b in offending if isinstance(b, int | float)]
        bound = f"the bound {literal[0]}" if literal else "a bound"
        bounded_relu = min is not None and is_zero(min)
        return Unknown(f"{bound} is neither 0 nor absent", RELU6 if bounded_relu else UNBOUND)
    return joint


@law("clamp_min", pieces=CHOICE)
def _clamp_min(self: Any, min: Any) -> Motion:
    """See clamp."""
    return _clamp(self, min)


@law("clamp_max", pieces=CHOICE)
def _clamp_max(self: Any, max: Any) -> Motion:
    """See clamp."""
    return _clamp(self, None, max)


@law("hardtanh", pieces=CHOICE)
def _hardtanh(self: Any, min_val: float = -1, max_val: float = 1) -> Motion:
    """See clamp."""
    return _clamp(self, min_val, max_val)


def _infinite(bound: Any) -> bool:
    return isinstance(bound, float) and math.isinf(bound)


@law("threshold", pieces=CHOICE)
def _threshold(self: Any, threshold: float, value: float) -> Motion:
    """A choice between the tensor and a value, by comparison with a threshold."""
    return switched(_comparison(self, threshold), self, value)


@law("sqrt")
def _sqrt(self: Any) -> Motion:
    """Degree 1/2."""
    return homogeneous(self, Fraction(1, 2))


@law("rsqrt")
def _rsqrt(self: Any) -> Motion:
    """Degree -1/2."""
    return homogeneous(self, Fraction(-1, 2))


@law("reciprocal")
def _reciprocal(self: Any) -> Motion:
    """Degree -1."""
    return homogeneous(self, -1)


@law("square")
def _square(self: Any) -> Motion:
    """Degree 2."""
    return homogeneous(self, 2)


@law("pow.Tensor_Scalar")
def _power(self: Any, exponent: Any) -> Motion:
    """Degree times the exponent; the exponent 1 is linear and 0 gives a constant 1."""
    if not isinstance(exponent, int | float) or not math.isfinite(exponent):
        return Unknown("an exponent that is no finite real number")
    if exponent == 1:
        return motion_of(self)
    return homogeneous(self, Fraction(exponent))


@law("pow.Tensor_Tensor pow.Scalar")
def _power_of_tensor(self: Any, exponent: Any) -> Motion:
    """Unknown once anything moves: the exponents differ from entry to entry."""
    del self, exponent
    return Unknown("a power whose exponent is a tensor", "use a number as the exponent")


@law("div.Tensor div.Scalar", pieces=SCALED)
@law("true_divide.Tensor")
def _divide(self: Any, other: Any) -> Motion:
    """Degrees subtract."""
    return quotient(self, other)


@law("div.Tensor_mode div.Scalar_mode")
def _divide_and_round(self: Any, other: Any, *, rounding_mode: str | None) -> Motion:
    """Rounding allows only a ratio that does not move."""
    if rounding_mode is None:
        return quotient(self, other)
    if is_zero(self):
        return FIXED
    ratio = constant(self, other)
    return Unknown("rounding") if is_zero(other) else ratio


@law("polar", rows=entrywise)
def _polar(abs: Any, angle: Any) -> Motion:
    """Degree 1 in the length while the angle does not move.

    Not linear: its derivative in autograd goes by the sign of the length.
    """
    return switched(angle, homogeneous(abs))


@law("complex", rows=entrywise)
def _complex(real: Any, imag: Any) -> Motion:
    """Two parts side by side."""
    return added(real, imag)


@law("isclose", rows=entrywise)
def _isclose(self: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, *_: Any) -> Motion:
    """A comparison of equal degrees when nothing absolute is added."""
    del rtol
    return _comparison(self, other) if atol == 0 else Unknown("an absolute tolerance")


@law("nan_to_num")
def _nan_to_num(
    self: Any, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Motion:
    """Homogeneous only if every replacement is zero or infinite."""
    replaced = (nan or 0.0, posinf, neginf)
    if all(r is not None and (r == 0 or math.isinf(r)) for r in replaced):
        return homogeneous(self)
    return Unknown("infinite values are replaced by finite ones")
