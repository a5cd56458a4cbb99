"""One operator sample, claimed by the engine and measured: who is right?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from laws_in_numbers import (
    RAY,
    TINY,
    TOLERANCE,
    disagreement,
    fitted,
    gradient_motion,
    moves,
    size_of,
    value_gap,
)
from opinfo_subjects import Subject
from recorder import Several, record_all
from torch import Tensor

from captum_xdnn.proof.domain import Fixed, Motion, Power

REFUSALS = (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError, AssertionError)
"""What an operator raises on arguments outside of its domain."""

HUGE = 1e100
"""Samples at the edge of the number range, made to overflow, obey no law of real numbers."""

LEAST = 1e-4
"""Relative to a result over its input."""


@dataclass
class Verdicts:
    """What a sweep over samples found.

    Attributes:
        unsound: Claims that the numbers contradict.
        claimed: Number of claims that numbers could be held against.
        unwatched: Subjects that fail where gradients are recorded.
        missed: For each choice of what moves, the number of lawful results without a claim.
        lawless: Choices of what moves under which some result obeys no law.
    """

    unsound: list[str] = field(default_factory=list)
    claimed: int = 0
    unwatched: list[str] = field(default_factory=list)
    missed: dict[str, int] = field(default_factory=dict)
    lawless: set[str] = field(default_factory=set)

    def needless(self) -> list[str]:
        """The choices of what moves under which a law always holds and is not always claimed."""
        return sorted(self.missed.keys() - self.lawless)


def judge(subject: Subject, verdicts: Verdicts) -> None:
    """Hold the claims on one subject, from the baseline zero and another, against numbers."""
    if any(not (t.abs() < HUGE).all() for t in subject.inputs):
        return
    try:
        with torch.no_grad():
            tensors = (*subject.inputs, *subject.fixed)
            results = [subject.function(*(t.clone() for t in tensors)) for _ in "ab"]
    except REFUSALS:
        return
    try:
        run = record_all(subject.function, subject.inputs, [t.clone() for t in subject.fixed])
    except REFUSALS as error:
        verdicts.unwatched.append(f"{subject.name}: {str(error)[:100]}")
        return
    settled = [_equal(one, two) for one, two in zip(*results, strict=True)]
    for from_zero in (True, False):
        baselines = [None if from_zero else _another(t) for t in subject.inputs]
        claims = claimed(run, baselines)
        ray = Ray(subject, baselines)
        for index, (claim, same) in enumerate(zip(claims, settled, strict=True)):
            where = f"{subject.name}, result {index}, {'zero' if from_zero else 'other'} baseline"
            if not same:
                if moves(claim):
                    verdicts.unsound.append(f"{where}: {claim}, but two calls differ")
            elif moves(claim):
                tolerance = max(TOLERANCE, 4 * run.graph.coarsest)
                _test(where, claim, ray, index, verdicts, tolerance)
            else:
                _look_for_a_law(subject, ray, index, verdicts, from_zero=from_zero)


def claimed(run: Several, baselines: Sequence[Tensor | None]) -> list[Motion]:
    """The engine's claim for each result.

    Args:
        run: The watched run.
        baselines: For each input its baseline, or None for zero.
    """
    propagation = run.proved([0 if b is None else b for b in baselines]).propagation
    return [propagation.proved(output) for output in run.outputs]


class Ray:
    """A subject's results and gradients as functions of the place on the ray."""

    def __init__(self, subject: Subject, baselines: Sequence[Tensor | None]) -> None:
        self._subject = subject
        self._ends = [
            (torch.zeros_like(x) if b is None else b, x)
            for x, b in zip(subject.inputs, baselines, strict=True)
        ]
        self._from_zero = baselines[0] is None
        self.differentiable = subject.differentiable
        self._values: dict[float, list[Tensor]] = {}

    def place(self, a: float) -> list[Tensor]:
        """The moving tensors at ``a``."""
        if self._from_zero:
            return [a * x for _, x in self._ends]
        return [b + a * (x - b) if a != 1.0 else x.clone() for b, x in self._ends]

    def _fixed(self) -> list[Tensor]:
        return [t.clone() for t in self._subject.fixed]

    def value(self, index: int) -> Callable[[float], Tensor]:
        """One result on the ray."""

        def at(a: float) -> Tensor:
            if a not in self._values:
                with torch.no_grad():
                    self._values[a] = self._subject.function(*self.place(a), *self._fixed())
            return self._values[a][index]

        return at

    def elsewhere(self, scale: float) -> Ray:
        """The same operator between other inputs, larger or smaller, and the same baselines."""
        inputs = tuple(scale * _another(x) for x in self._subject.inputs)
        baselines = [None if self._from_zero else b for b, _ in self._ends]
        return Ray(replace(self._subject, inputs=inputs), baselines)

    def matters(self, index: int) -> bool:
        """Whether a result differs at another input."""
        with torch.no_grad():
            others = [_another(x) for _, x in self._ends]
            other = self._subject.function(*others, *self._fixed())[index]
        return not _equal(other, self.value(index)(1.0))

    def least(self, index: int) -> float:
        """Smaller gradients are rounding: of a constant, or of parts that cancel."""
        size = max(size_of(x) for _, x in self._ends)
        return LEAST * size_of(self.value(index)(1.0)) / max(size, 1e-200)

    def gradient(self, index: int) -> Callable[[float], Tensor]:
        """The gradient of a fixed weighting of one result, joined over the moving tensors."""

        def at(a: float) -> Tensor:
            leaves = [t.detach().clone().requires_grad_() for t in self.place(a)]
            with torch.enable_grad():
                result = self._subject.function(*leaves, *self._fixed())[index]
                weights = _weights(result)
                total = (weights * result).sum()
                total = total.real if total.is_complex() else total
                found = torch.autograd.grad(total, leaves, allow_unused=True)
            whole = [
                torch.zeros_like(t) if g is None else g for t, g in zip(leaves, found, strict=True)
            ]
            return torch.cat(
                [
                    torch.view_as_real(g.resolve_conj()).flatten()
                    if g.is_complex()
                    else g.flatten()
                    for g in whole
                ]
            )

        return at


def _test(
    where: str, claim: Motion, ray: Ray, index: int, verdicts: Verdicts, tolerance: float
) -> None:
    points = (*RAY, TINY) if isinstance(claim, Power) and ray._from_zero else RAY
    try:
        gap = value_gap(claim, ray.value(index), points)
    except REFUSALS:
        gap = None
    if gap is None:  # every number was infinite or undefined
        return
    verdicts.claimed += 1
    if gap > tolerance:
        verdicts.unsound.append(f"{where}: {claim}, but values are off by {gap:.1e}")
        return
    if isinstance(claim, Fixed) or not ray.differentiable:
        return
    try:
        gap = value_gap(gradient_motion(claim), ray.gradient(index), least=ray.least(index))
    except REFUSALS:
        return
    if gap is not None and gap > tolerance:
        verdicts.unsound.append(f"{where}: {claim}, but gradients are off by {gap:.1e}")


UNMOVED = Fixed()


def _law(ray: Ray, index: int, *, from_zero: bool) -> Motion | None:
    """The law that a result looks like; ``UNMOVED`` where the inputs do not matter or are wrong."""
    try:
        if not ray.matters(index):
            return UNMOVED
        return fitted(ray.value(index), from_zero=from_zero)
    except REFUSALS:
        return UNMOVED


def _look_for_a_law(
    subject: Subject, ray: Ray, index: int, verdicts: Verdicts, *, from_zero: bool
) -> None:
    """Whether a result without a claim looks lawful, here and at larger and smaller inputs."""
    key = f"{subject.moving}, {'zero' if from_zero else 'other'} baseline"
    laws = [_law(ray, index, from_zero=from_zero)]
    if laws == [UNMOVED]:
        return
    if laws != [None]:
        elsewhere = (_law(ray.elsewhere(s), index, from_zero=from_zero) for s in (10.0, 0.1))
        laws += [law for law in elsewhere if law != UNMOVED]
    if None in laws:
        verdicts.lawless.add(key)
    else:
        verdicts.missed[key] = verdicts.missed.get(key, 0) + 1


def _another(x: Tensor) -> Tensor:
    """A tensor of a like size whose signs differ here and there."""
    generator = torch.Generator().manual_seed(x.numel())
    noise = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.dtype)
    return noise * (1 + x.abs().mean())


def _weights(result: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(result.numel())
    return (0.5 + torch.rand(result.shape, generator=generator, dtype=torch.float64)).to(
        result.dtype
    )


def _equal(one: Tensor, two: Tensor) -> bool:
    if one.shape != two.shape:
        return False
    if not (one.is_floating_point() or one.is_complex()):
        return bool(torch.equal(one, two))
    gap = disagreement(one, two)
    return gap is None or gap < TOLERANCE
