"""Rules that are one law of the first arguments of an operation, whatever else it takes."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from captum_xdnn.proof.domain import Motion
from captum_xdnn.proof.laws import homogeneous
from captum_xdnn.proof.registry import law


def of_degree(names: str, *degrees: Fraction | int, **facts: Any) -> None:
    """Enter operations that are positively homogeneous, of one degree for each result.

    A degree of 0 is what signs or order decide: a positive scale changes nothing.
    """

    def rule(argument: Any, /, *_: Any, **__: Any) -> Motion | tuple[Motion, ...]:
        motions = tuple(homogeneous(argument, degree) for degree in degrees)
        return motions if len(motions) > 1 else motions[0]

    rule.__doc__ = f"Degree {', '.join(map(str, degrees))}."
    law(names, **facts)(rule)


def of_two(names: str, combined: Callable[[Any, Any], Motion], **facts: Any) -> None:
    """Enter operations that obey a law of ``laws`` in their first two arguments."""

    def rule(first: Any, second: Any, /, *_: Any, **__: Any) -> Motion:
        return combined(first, second)

    rule.__doc__ = combined.__doc__
    law(names, **facts)(rule)
