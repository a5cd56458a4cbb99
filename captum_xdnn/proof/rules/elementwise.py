"""Element by element: positively homogeneous functions, quotients, powers, comparisons."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from captum_xdnn.proof.domain import (
    CONSTANT,
    FIXED,
    Affine,
    Motion,
    Unknown,
    is_constant,
)
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
from captum_xdnn.proof.registry import register_rule

RELU6 = "replace it by a ReLU, which has no upper bound"
UNBOUND = "let the bound be 0, or leave it out"


@register_rule(
    [
        "aten.relu.default",
        "aten.abs.default",
        "aten.leaky_relu.default",
    ]
)
def _bent_at_zero(self: Any, *_: Any, **__: Any) -> Motion:
    """Positively homogeneous of degree 1."""
    return homogeneous(self)


@register_rule(["aten.prelu.default", "aten._prelu_kernel.default"])
def _prelu(self: Any, weight: Any) -> Motion:
    """Degree 1 while the slope does not move."""
    slope = motion_of(weight)
    if is_constant(slope):
        return homogeneous(self)
    return Unknown("a slope that moves")


@register_rule("aten.rrelu_with_noise.default")
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


@register_rule(
    [
        "aten.sign.default",
        "aten.sgn.default",
        "aten.isnan.default",
        "aten.isinf.default",
        "aten.isfinite.default",
        "aten.isposinf.default",
        "aten.isneginf.default",
        "aten.signbit.default",
        "aten.logical_not.default",
        "aten.angle.default",
    ]
)
def _of_sign(self: Any) -> Motion:
    """A positive scale changes neither sign nor finiteness."""
    return constant(self)


@register_rule(
    [
        f"aten.{name}.{overload}"
        for name in ("eq", "ne", "lt", "le", "gt", "ge")
        for overload in ("Tensor", "Scalar")
    ]
    + ["aten.atan2.default", "aten.logical_xor.default"]
    + [f"aten.logical_{name}.default" for name in ("and", "or")]
)
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


@register_rule(
    [
        "aten.maximum.default",
        "aten.minimum.default",
        "aten.fmax.default",
        "aten.fmin.default",
        "aten.hypot.default",
        "aten.fmod.Tensor",
        "aten.fmod.Scalar",
        "aten.remainder.Tensor",
        "aten.remainder.Scalar",
    ]
)
def _jointly_homogeneous(self: Any, other: Any) -> Motion:
    """Degree 1 in both arguments together."""
    return shared(self, other)


@register_rule(["aten.copysign.Tensor", "aten.copysign.Scalar"])
def _copysign(self: Any, other: Any) -> Motion:
    """The size of one, the sign of the other."""
    sign = motion_of(other)
    if isinstance(sign, Unknown | Affine):
        return sign if isinstance(sign, Unknown) else Unknown(BEND)
    size = homogeneous(self)
    return CONSTANT if size == FIXED and sign != FIXED else size


@register_rule(["aten.clamp.default", "aten.clamp.Tensor"])
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


@register_rule("aten.clamp_min.default")
def _clamp_min(self: Any, min: Any) -> Motion:
    """See clamp."""
    return _clamp(self, min)


@register_rule("aten.clamp_max.default")
def _clamp_max(self: Any, max: Any) -> Motion:
    """See clamp."""
    return _clamp(self, None, max)


@register_rule("aten.hardtanh.default")
def _hardtanh(self: Any, min_val: float = -1, max_val: float = 1) -> Motion:
    """See clamp."""
    return _clamp(self, min_val, max_val)


def _infinite(bound: Any) -> bool:
    return isinstance(bound, float) and math.isinf(bound)


@register_rule("aten.threshold.default")
def _threshold(self: Any, threshold: float, value: float) -> Motion:
    """A choice between the tensor and a value, by comparison with a threshold."""
    return switched(_comparison(self, threshold), self, value)


@register_rule("aten.sqrt.default")
def _sqrt(self: Any) -> Motion:
    """Degree 1/2."""
    return homogeneous(self, Fraction(1, 2))


@register_rule("aten.rsqrt.default")
def _rsqrt(self: Any) -> Motion:
    """Degree -1/2."""
    return homogeneous(self, Fraction(-1, 2))


@register_rule("aten.reciprocal.default")
def _reciprocal(self: Any) -> Motion:
    """Degree -1."""
    return homogeneous(self, -1)


@register_rule("aten.square.default")
def _square(self: Any) -> Motion:
    """Degree 2."""
    return homogeneous(self, 2)


@register_rule("aten.pow.Tensor_Scalar")
def _power(self: Any, exponent: Any) -> Motion:
    """Degree times the exponent; the exponent 1 is linear and 0 gives a constant 1."""
    if not isinstance(exponent, int | float) or not math.isfinite(exponent):
        return Unknown("an exponent that is no finite real number")
    if exponent == 1:
        return motion_of(self)
    return homogeneous(self, Fraction(exponent))


@register_rule(["aten.pow.Tensor_Tensor", "aten.pow.Scalar"])
def _power_of_tensor(self: Any, exponent: Any) -> Motion:
    """Unknown once anything moves: the exponents differ from entry to entry."""
    del self, exponent
    return Unknown("a power whose exponent is a tensor", "use a number as the exponent")


@register_rule(["aten.div.Tensor", "aten.div.Scalar", "aten.true_divide.Tensor"])
def _divide(self: Any, other: Any) -> Motion:
    """Degrees subtract."""
    return quotient(self, other)


@register_rule(["aten.div.Tensor_mode", "aten.div.Scalar_mode"])
def _divide_and_round(self: Any, other: Any, *, rounding_mode: str | None) -> Motion:
    """Rounding allows only a ratio that does not move."""
    if rounding_mode is None:
        return quotient(self, other)
    if is_zero(self):
        return FIXED
    ratio = constant(self, other)
    return Unknown("rounding") if is_zero(other) else ratio


@register_rule("aten.polar.default")
def _polar(abs: Any, angle: Any) -> Motion:
    """Degree 1 in the length while the angle does not move.

    Not linear: its derivative in autograd goes by the sign of the length.
    """
    return switched(angle, homogeneous(abs))


@register_rule("aten.complex.default")
def _complex(real: Any, imag: Any) -> Motion:
    """Two parts side by side."""
    return added(real, imag)


@register_rule("aten.isclose.default")
def _isclose(self: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, *_: Any) -> Motion:
    """A comparison of equal degrees when nothing absolute is added."""
    del rtol
    return _comparison(self, other) if atol == 0 else Unknown("an absolute tolerance")


@register_rule("aten.nan_to_num.default")
def _nan_to_num(
    self: Any, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Motion:
    """Homogeneous only if every replacement is zero or infinite."""
    replaced = (nan or 0.0, posinf, neginf)
    if all(r is not None and (r == 0 or math.isinf(r)) for r in replaced):
        return homogeneous(self)
    return Unknown("infinite values are replaced by finite ones")
