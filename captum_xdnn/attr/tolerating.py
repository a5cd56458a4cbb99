"""Attributions to a tolerance: what is asked for, what is said of it, what is missed."""

from __future__ import annotations

import math
import warnings
from numbers import Real

from torch import Tensor

from captum_xdnn.attr.base import level_of_the_user
from captum_xdnn.routes.refinement import FEWEST, Taken, Tolerance

MOST = 1000
"""Points of one example, where nobody says how many."""
NAMED = 5
"""Examples that a warning names."""
MISSED = (
    "tolerance={} was not reached with max_steps={} by {} of {} examples: {}. A larger max_steps may; "
    "where the gap is not a number the function has no finite value or gradient on the way"
)
UNKNOWN = (
    "tolerance= is not possible where it is not known what is differentiated: with a gradient function or "
    "an _attribute of one's own, or grad_kwargs"
)


def tolerance_of(tolerance: float | None, max_steps: int | None) -> Tolerance | None:
    """What is wanted; None where Captum's steps are.

    Raises:
        ValueError: If the tolerance is no positive number, or ``max_steps`` no whole number of at least 3,
            or given without a tolerance.
    """
    if tolerance is None:
        if max_steps is None:
            return None
        message = "max_steps bounds the points of tolerance=, which is not given; n_steps are Captum's steps"
        raise ValueError(message)
    real = isinstance(tolerance, Real) and not isinstance(tolerance, bool)
    if not (real and 0 < tolerance < math.inf):
        message = f"tolerance must be a positive number, found {tolerance!r}"
        raise ValueError(message)
    most = MOST if max_steps is None else max_steps
    if type(most) is not int or most < FEWEST:
        message = f"max_steps must be an integer of at least {FEWEST}, found {max_steps!r}"
        raise ValueError(message)
    return Tolerance(float(tolerance), most)


def warn_if_missed(taken: Taken, wanted: Tolerance) -> None:
    """Name the examples that a tolerance was not reached by, at the line of the user's own code."""
    missed = [i for i, done in enumerate(taken.done.tolist()) if not done]
    if not missed:
        return
    named = [f"example {i} (gap {taken.gaps[i]:.2g})" for i in missed[:NAMED]]
    said = ", ".join(named) + ("" if len(missed) <= NAMED else f" and {len(missed) - NAMED} others")
    message = MISSED.format(wanted.gap, wanted.most, len(missed), len(taken.done), said)
    warnings.warn(message, UserWarning, stacklevel=level_of_the_user())


class Tolerating:
    """Of a class with ``tolerance=``: what its last call took."""

    def _taken(self) -> Taken | None:
        raise NotImplementedError

    @property
    def last_steps(self) -> Tensor | None:
        """With ``tolerance=`` the points of each example in the last call, shape ``(B,)``, dtype int64.

        A single pass takes one. Without a tolerance None. Of the last call in this thread, as ``last_route``.
        """
        taken = self._taken()
        return None if taken is None else taken.steps

    @property
    def last_gap(self) -> Tensor | None:
        r"""With ``tolerance=`` the gap of each example, :math:`|\sum_i A_i - \Delta| / |\Delta|`, shape ``(B,)``.

        :math:`\Delta = F(x) - F(b)`, of outputs met on the way; float64. Without a tolerance None.
        """
        taken = self._taken()
        return None if taken is None else taken.gaps
