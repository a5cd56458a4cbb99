"""Motions held against numbers: what a claim says of values and gradients on the ray, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import torch
from torch import Tensor

from captum_xdnn.proof.domain import SCALE_INVARIANT, Affine, Fixed, Motion, Power

RAY = (1.0, 0.7, 0.31, 0.05, 1e-3)
"""Points of the ray at which a law is checked; the last one lays bare small eps."""

TINY = 1e-9
"""A point at which even an eps of 1e-12 shows; only of use from the baseline zero."""

TOLERANCE = 1e-7
"""Relative to the largest entry; a wrong claim is off by far more at some point of the ray."""


def expected(motion: Motion, a: float, at_1: Tensor, at_0: Tensor | None) -> Tensor:
    """The value at ``a`` that a motion predicts.

    Args:
        motion: The claim: ``Fixed``, ``Power`` or ``Affine``.
        a: The point.
        at_1: The value at the input.
        at_0: The value at the baseline; only ``Affine`` reads it.
    """
    if isinstance(motion, Affine):
        return (1 - a) * at_0 + a * at_1  # in this form infinite entries keep the law too
    if isinstance(motion, Power) and motion.degree != 0:
        # As a tensor's power, which is infinite where a float's raises: degrees are fitted to
        # memory that nobody has written, too.
        return at_1 * float(torch.tensor(a, dtype=torch.float64) ** float(motion.degree))
    return at_1


def disagreement(seen: Tensor, predicted: Tensor, scale: float | None = None) -> float | None:
    """The largest relative difference where both are finite; None if there is no such entry.

    An entry that is finite on one side only is a disagreement too, unless it may have overflowed.

    Args:
        seen: The numbers.
        predicted: What they should be.
        scale: The size of numbers that the difference is relative to; by default theirs.
    """
    if seen.shape != predicted.shape:
        return float("inf")
    if not (seen.is_floating_point() or seen.is_complex()):
        return 0.0 if torch.equal(seen, predicted) else float("inf")
    if seen.numel():
        largest = [float(t.abs().max()) for t in (seen - predicted, predicted, seen)]
        if all(map(math.isfinite, largest)):
            return largest[0] / max(*largest[1:], scale or 0.0, 1e-200)
    both = torch.isfinite(seen) & torch.isfinite(predicted)
    if not both.any():
        return None if seen.numel() else 0.0
    one = torch.isnan(seen) != torch.isnan(predicted)
    if one.any():
        return float("inf")
    size = max(float(predicted[both].abs().max()), float(seen[both].abs().max()))
    size = max(size, scale or 0.0, 1e-200)
    return float((seen[both] - predicted[both]).abs().max()) / size


def value_gap(
    motion: Motion,
    function: Callable[[float], Tensor],
    points: Sequence[float] = RAY,
    *,
    least: float = 0.0,
) -> float | None:
    """How far the values on the ray are from a claim; None if no number is finite.

    Args:
        motion: The claim.
        function: The tensor at a point of the ray; asked at 0 for ``Affine`` alone.
        points: The points.
        least: The size below which numbers are nothing but rounding.
    """
    at_1 = function(1.0)
    at_0 = function(0.0) if isinstance(motion, Affine) else None
    scale = least if at_0 is None else max(least, size_of(at_0))
    gaps = [
        disagreement(function(a), expected(motion, a, at_1, at_0), scale)
        for a in points
        if a != 1.0
    ]
    known = [gap for gap in gaps if gap is not None]
    return max(known) if known else None


def gradient_motion(motion: Motion) -> Motion:
    """The motion of the gradient: one degree less; that of an affine tensor is constant."""
    if isinstance(motion, Power):
        return Power(motion.degree - 1)
    return SCALE_INVARIANT


def fitted(function: Callable[[float], Tensor], *, from_zero: bool) -> Motion | None:
    """The law that the numbers look like, or None: for telling what is needlessly unknown.

    Args:
        function: The tensor at a point of the ray.
        from_zero: Whether the baseline is zero; if it is not, only ``Affine`` is tried.
    """
    at_1, half = function(1.0), function(0.5)
    if at_1.shape != half.shape or not at_1.numel() or not torch.isfinite(at_1).all():
        return None
    candidates: list[Motion] = [Affine()]
    if from_zero and (at_1.is_floating_point() or at_1.is_complex()):
        largest = int(at_1.abs().argmax())
        above, below = at_1.flatten()[largest].abs(), half.flatten()[largest].abs()
        ratio = float(above / below)
        if 0 < ratio < float("inf"):
            degree = Fraction(math.log2(ratio)).limit_denominator(12)
            candidates = [Power(degree)]
    elif from_zero:
        candidates = [SCALE_INVARIANT]
    for motion in candidates:
        gap = value_gap(motion, function)
        if gap is not None and gap < TOLERANCE:
            return motion
    return None


def moves(motion: Motion) -> bool:
    """Whether something is claimed at all."""
    return isinstance(motion, Fixed | Power | Affine)


def size_of(tensor: Tensor) -> float:
    """The largest finite entry."""
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return 0.0
    finite = tensor[torch.isfinite(tensor)]
    return float(finite.abs().max()) if finite.numel() else 0.0
