"""Motions: how a tensor moves along the ray from the baseline to the input.

Integrated Gradients walks the ray ``z(a) = b + a (x - b)``, ``0 < a <= 1``. For a fixed
baseline ``b`` and *every* input ``x``, each tensor of a computation is a function ``t(a)``;
its motion is the law that this function obeys.
"""

from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(frozen=True)
class Motion:
    """Base class of the four motions.

    Example:
        >>> isinstance(Power(1), Motion)
        True
    """


@dataclass(frozen=True)
class Fixed(Motion):
    """``t(a)`` does not depend on the inputs at all: weights, buffers, literals.

    Example:
        >>> print(Fixed())
        fixed
    """

    def __str__(self) -> str:
        return "fixed"


@dataclass(frozen=True)
class Power(Motion):
    """``t(a) = a**degree * t(1)`` for every ``a`` in (0, 1].

    Attributes:
        degree: Any rational; 0 for masks and indices, negative for reciprocals.

    Example:
        >>> print(Power(2))
        homogeneous of degree 2
        >>> Power(1) == Power(Fraction(2, 2))
        True
    """

    degree: Fraction

    def __init__(self, degree: Fraction | int) -> None:
        object.__setattr__(self, "degree", Fraction(degree))

    def __str__(self) -> str:
        return f"homogeneous of degree {self.degree}"


@dataclass(frozen=True)
class Affine(Motion):
    """``t(a) = t(0) + a (t(1) - t(0))`` where ``t(0)`` is the value at the baseline.

    The value at the baseline depends on weights and the baseline only, never on the input:
    without that, differentiating the law with respect to the input would bring in the
    gradient of ``t(0)``, and a single pass would not be exact.

    Attributes:
        cause: Why the value at the baseline is not zero, for people; no part of the motion.

    Example:
        >>> Affine("a bias") == Affine("another")
        True
    """

    cause: str = field(default="the value at the baseline is not zero", compare=False)

    def __str__(self) -> str:
        return "affine"


@dataclass(frozen=True)
class Unknown(Motion):
    """Nothing is claimed.

    Attributes:
        reason: Why, for people.
        remedy: What to do about it, for people.
        assume: The motion with which the *search for further blockers* goes on behind this
            one. It is never part of a claim.

    Example:
        >>> Unknown("it draws random numbers", "call model.eval()").remedy
        'call model.eval()'
    """

    reason: str = field(default="nothing is known of this operation", compare=False)
    remedy: str = field(default="", compare=False)
    assume: Motion = field(default_factory=lambda: Power(1), compare=False)

    def __str__(self) -> str:
        return "unknown"


FIXED = Fixed()
SCALE_INVARIANT = Power(0)
"""Constant along the ray, though it depends on the input: a mask, an index, ``x / ||x||``."""


def is_constant(motion: Motion) -> bool:
    """Whether a tensor of this motion keeps its value along the ray."""
    return motion in (FIXED, SCALE_INVARIANT)
