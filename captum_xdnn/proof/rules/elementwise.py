"""Element by element: quotients, powers, comparisons, and what bends at zero.

Rows of what torch tags as pointwise need no entry here.
"""

import math
import operator
from fractions import Fraction
from typing import Any

from captum_xdnn.proof.domain import FIXED, SCALE_INVARIANT, Affine, Motion, Unknown, is_constant
from captum_xdnn.proof.findings import RELU as RELU
from captum_xdnn.proof.laws import (
    BEND,
    added,
    constant,
    homogeneous,
    product,
    quotient,
    shared,
    switched,
)
from captum_xdnn.proof.operand import Bound, Operand, is_zero, motion_of
from captum_xdnn.proof.registry import CHOICE, SCALED, law
from captum_xdnn.proof.row_laws import entrywise
from captum_xdnn.proof.rules.by_law import of_degree, of_two

RELU6 = "replace it by a ReLU, which has no upper bound"
UNBOUND = "let the bound be 0, or leave it out"


of_degree("relu abs leaky_relu", 1, pieces=CHOICE)
of_degree("sign sgn isnan isinf isfinite isposinf isneginf signbit logical_not angle", 0)
of_degree("sqrt", Fraction(1, 2))
of_degree("rsqrt", Fraction(-1, 2))
of_degree("reciprocal", -1)
of_degree("square", 2)
of_two("maximum minimum", shared, pieces=CHOICE)
of_two("fmax fmin hypot", shared)
of_two("fmod.Tensor fmod.Scalar remainder.Tensor remainder.Scalar remainder.Scalar_Tensor", shared)
of_two("div.Tensor div.Scalar", quotient, pieces=SCALED)
of_two("true_divide.Tensor", quotient)
of_two("complex", added, rows=entrywise)


@law("prelu _prelu_kernel", rows=entrywise, pieces=SCALED)
def _prelu(self: Any, weight: Any) -> Motion:
    """Degree 1 while the slope does not move."""
    return homogeneous(self) if is_constant(motion_of(weight)) else Unknown("a slope that moves")


@law("rrelu_with_noise", rows=entrywise, overwrites=1)
def _rrelu(
    self: Any, _noise: Any, _lower: Any = 0, _upper: Any = 0, /, training: bool = False, *_: Any
) -> Motion:
    """A leaky ReLU in evaluation mode, where the noise is neither written nor read."""
    return Unknown("the slopes are random", "call model.eval()") if training else homogeneous(self)


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
            SCALE_INVARIANT,
        )
    return outcome


@law("heaviside")
def _heaviside(self: Any, values: Any) -> Motion:
    """Where it is zero the values, elsewhere 0 or 1, as the sign says."""
    return switched(constant(self), values, 1)


@law("copysign.Tensor copysign.Scalar")
def _copysign(self: Any, other: Any) -> Motion:
    """The size of one, the sign of the other."""
    sign = motion_of(other)
    if isinstance(sign, Unknown | Affine):
        return sign if isinstance(sign, Unknown) else Unknown(BEND)
    size = homogeneous(self)
    return SCALE_INVARIANT if size == FIXED and sign != FIXED else size


@law("clamp clamp_min", pieces=CHOICE)
@law("clamp.Tensor clamp_min.Tensor")
def _clamp(self: Any, min: Any = None, max: Any = None, /) -> Motion:
    """Degree 1 when every bound is zero, infinite or scales alike."""
    bounds = [b for b in (min, max) if b is not None and b not in (math.inf, -math.inf)]
    joint = shared(self, *bounds)
    offending = [b for b in bounds if not is_zero(b)]
    if isinstance(joint, Unknown) and offending and not isinstance(motion_of(self), Unknown):
        literal = [b for b in offending if isinstance(b, int | float)]
        bound = f"the bound {literal[0]}" if literal else "a bound"
        bounded_relu = min is not None and is_zero(min)
        return Unknown(f"{bound} is neither 0 nor absent", RELU6 if bounded_relu else UNBOUND)
    return joint


@law("clamp_max", pieces=CHOICE)
@law("clamp_max.Tensor")
def _clamp_max(self: Any, max: Any) -> Motion:
    """See clamp."""
    return _clamp(self, None, max)


@law("hardtanh", pieces=CHOICE)
def _hardtanh(self: Any, min_val: float = -1, max_val: float = 1) -> Motion:
    """See clamp."""
    return _clamp(self, min_val, max_val)


@law("threshold", pieces=CHOICE)
def _threshold(self: Any, threshold: float, value: float) -> Motion:
    """A choice between the tensor and a value, by comparison with a threshold."""
    return switched(_comparison(self, threshold), self, value)


@law("pow.Tensor_Scalar")
def _power(self: Any, exponent: Any) -> Motion:
    """Degree times the exponent; the exponent 1 is linear and 0 gives a constant 1."""
    if not isinstance(exponent, int | float) or not math.isfinite(exponent):
        return Unknown("an exponent that is no finite real number")
    if exponent == 1:
        return motion_of(self)
    simple = Fraction(exponent).limit_denominator(64)  # 1/3 is written as a float that is not 1/3
    return homogeneous(self, simple if float(simple) == exponent else Fraction(exponent))


@law("pow.Tensor_Tensor pow.Scalar")
def _power_of_tensor(self: Any, exponent: Any) -> Motion:
    """As of a number, where the exponent is one of the usual ones in every entry and does not move."""
    if isinstance(exponent, Operand) and exponent.motion == FIXED:
        for number in (1, 2, 3, 0.5):
            if exponent.vanishes(Bound(operator.sub, (number,))):
                return _power(self, number)
    return Unknown("a power whose exponent is a tensor", "use a number as the exponent")


@law("ldexp.Tensor", pieces=SCALED)
def _times_power_of_two(self: Any, other: Any) -> Motion:
    """``self * 2**other``."""
    if is_constant(motion_of(other)):
        return product(self, other)
    return Unknown("an exponent that moves", "use an exponent that does not depend on the input")


@law("softshrink hardshrink")
def _shrink(self: Any, lambd: float = 0.5) -> Motion:
    """The identity where nothing is taken away."""
    return homogeneous(self) if lambd == 0 else Unknown("a threshold that is not 0", RELU)


@law("div.Tensor_mode div.Scalar_mode")
def _divide_and_round(self: Any, other: Any, *, rounding_mode: str | None) -> Motion:
    """Rounding allows only a ratio that does not move."""
    if rounding_mode is None:
        return quotient(self, other)
    if is_zero(self):
        return FIXED
    ratio = constant(self, other)
    return Unknown("rounding") if is_zero(other) else ratio


@law("floor_divide", rows=entrywise)
def _floor_divide(self: Any, other: Any) -> Motion:
    """Rounding allows only a ratio that does not move."""
    return _divide_and_round(self, other, rounding_mode="floor")


@law("polar", rows=entrywise)
def _polar(abs: Any, angle: Any) -> Motion:
    """Degree 1 in the length while the angle does not move.

    Not linear: its derivative in autograd goes by the sign of the length.
    """
    return switched(angle, homogeneous(abs))


@law("isclose", rows=entrywise)
def _isclose(self: Any, other: Any, _rtol: Any = 0, /, atol: float = 1e-8, *_: Any) -> Motion:
    """A comparison of equal degrees when nothing absolute is added."""
    return _comparison(self, other) if atol == 0 else Unknown("an absolute tolerance")


@law("nan_to_num")
def _nan_to_num(
    self: Any, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Motion:
    """Homogeneous if every replacement is zero or infinite, or if nothing in this run is infinite."""
    if nan:
        return Unknown("what is no number is replaced by one", "leave nan out, or let it be 0")
    infinite = [] if self.bounded else [posinf, neginf]
    if all(r is not None and (r == 0 or math.isinf(r)) for r in infinite):
        return homogeneous(self)
    return Unknown(
        "infinite values are replaced by finite ones",
        "let no value be infinite, or call torch.nan_to_num(x, posinf=0, neginf=0)",
    )
