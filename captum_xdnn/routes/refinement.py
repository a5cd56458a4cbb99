r"""As many points on the ray as a tolerance needs: Simpson's rule on intervals, halved where they err.

The output at both ends of an interval is known, so what the interval's attributions miss of their
difference is seen and not estimated: completeness of a piece of the ray. Points are nested, so no
pass is lost, and examples that are done take no further ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

FIRST = 4
"""Intervals at the beginning: fewer could step over what happens between."""
FEWEST = 3
"""Points of an interval."""
ROUNDING = 64.0
"""Units of rounding of the outputs: what is no larger is no error."""

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Evaluated:
    """A function at P points, each on the ray of a group of E examples, which go together."""

    outputs: Tensor  # shape ``(P, E)``
    slopes: Tensor  # the outputs' derivatives along the ray, shape ``(P, E)``
    parts: tuple[Tensor, ...]  # what is to be integrated, each of shape ``(P, ...)``


@dataclass(frozen=True)
class Tolerance:
    """What is wanted of an integral."""

    gap: float  # of completeness, relative to ``F(x) - F(b)``
    most: int  # points of one example at most


@dataclass(frozen=True)
class Taken:
    """What the integrals of a batch took: points of nested rules, and what they miss."""

    steps: Tensor  # points of each example, shape ``(B,)``
    gaps: Tensor  # relative completeness gaps, shape ``(B,)``
    done: Tensor  # whether they are as small as wanted, shape ``(B,)``

    def of(self, size: int) -> Taken:
        """The same for each example of a batch that went together."""
        return Taken(*(t.expand(size).clone() for t in (self.steps, self.gaps, self.done)))

    @staticmethod
    def joined(parts: list[Taken]) -> Taken | None:
        """Of consecutive parts of a batch that of the whole; None where there are none."""
        each = [(p.steps, p.gaps, p.done) for p in parts]
        return Taken(*map(torch.cat, zip(*each, strict=True))) if parts else None


@dataclass(frozen=True)
class Refined:
    """The integrals of G groups of E examples."""

    integrals: tuple[Tensor, ...]  # each of shape ``(G, ...)``
    points: list[tuple[float, float]]  # weights and places of all groups, one after the other
    taken: Taken  # of ``G * E`` examples


Evaluate = Callable[[Tensor, Tensor], Evaluated]
"""Evaluates at the numbers of groups and the places on their rays, both of shape ``(P,)``."""


def column(numbers: Tensor, tensor: Tensor) -> Tensor:
    """A number for each row of a tensor."""
    return numbers.to(tensor.device).reshape(-1, *[1] * (tensor.dim() - 1))


def refined(evaluate: Evaluate, groups: int, wanted: Tolerance) -> Refined:
    r"""Integrate over the rays until the intervals' errors are small.

    With the errors :math:`e_j = \sum_i A_i^{(j)} - (F(r_j) - F(l_j))` of an example's intervals, it is
    done when :math:`|\sum_j e_j|` and :math:`(\sum_j e_j^2)^{1/2}` are at most ``tolerance`` times
    :math:`|F(x) - F(b)|`. The second keeps errors that cancel by chance from being taken for small.
    """
    work = _Work(evaluate, groups, wanted)
    while work.halve():
        pass
    with _quiet():
        return work.result()


def _quiet() -> Any:
    """What is infinite or no number is told of by the gap; not around the user's function, which may use numpy."""
    return np.errstate(all="ignore")


class _Work:
    """Points in the order in which they were evaluated, and intervals by the numbers of their points."""

    def __init__(self, evaluate: Evaluate, groups: int, wanted: Tolerance) -> None:
        self._evaluate, self._groups, self._most = evaluate, groups, wanted.most
        self._group, self._place = np.empty(0, dtype=np.int64), np.empty(0)
        self._outputs = self._slopes = np.empty((0, 0))
        self._found: list[Evaluated] = []
        count = 2 * min(FIRST, (wanted.most - 1) // 2) + 1
        everyone = np.arange(groups)
        self._look(np.tile(everyone, count), np.repeat(np.linspace(0.0, 1.0, count), groups))
        lefts = (np.arange(0, count - 1, 2)[:, None] * groups + everyone).reshape(-1)
        self._points = np.stack([lefts, lefts + groups, lefts + 2 * groups])
        start, end = self._outputs[:groups], self._outputs[-groups:]
        unit = torch.finfo(self._found[0].outputs.dtype).eps
        with _quiet():
            self._change = np.abs(end - start)
            rounding = ROUNDING * unit * (np.abs(start) + np.abs(end))
            self._allowed = np.maximum(wanted.gap * self._change, rounding)

    def _look(self, groups: Array, places: Array) -> None:
        """Evaluate at further points."""
        found = self._evaluate(torch.from_numpy(groups), torch.from_numpy(places))
        outputs, slopes = (t.detach().double().cpu().numpy() for t in (found.outputs, found.slopes))
        if self._found:
            outputs = np.concatenate([self._outputs, outputs])
            slopes = np.concatenate([self._slopes, slopes])
        self._outputs, self._slopes = outputs, slopes
        self._group = np.concatenate([self._group, groups])
        self._place = np.concatenate([self._place, places])
        self._found.append(found)

    def _weights(self) -> Array:
        """What the three points of each interval weigh, shape ``(3, J)``.

        At the baseline itself the gradient is often another than beside it (ReLUs at zero), so the
        first interval takes its middle alone.
        """
        left, _, right = self._points
        simpson, middle = np.array([[1.0], [4.0], [1.0]]) / 6, np.array([[0.0], [1.0], [0.0]])
        widths = self._place[right] - self._place[left]
        weights: Array = widths * np.where(self._place[left] == 0, middle, simpson)
        return weights

    def _errors(self) -> Array:
        """What each interval misses, shape ``(J, E)``."""
        left, _, right = self._points
        weights = self._weights()[:, :, None]
        speeds = np.where(
            weights == 0, 0.0, self._slopes[self._points]
        )  # at the baseline it may be infinite
        errors: Array = (weights * speeds).sum(0) - (self._outputs[right] - self._outputs[left])
        return errors

    def _sums(self, values: Array) -> Array:
        """The sums over the intervals of each group, shape ``(G, E)``."""
        sums: Array = np.zeros((self._groups, *values.shape[1:]))
        np.add.at(sums, self._group[self._points[0]], values)
        return sums

    def _is_done(self, errors: Array) -> Array:
        gaps = np.maximum(np.abs(self._sums(errors)), np.sqrt(self._sums(errors**2)))
        # From an infinite output on everything would be allowed.
        done: Array = np.asarray((gaps <= self._allowed) & np.isfinite(gaps))
        return done

    def halve(self) -> bool:
        """Halve the intervals that err most; gives whether there were any."""
        with _quiet():
            errors = self._errors()
            going = ~self._is_done(errors) & np.isfinite(self._sums(errors))
            chosen = self._worst(errors, going)
        if not chosen.size:
            return False
        left, middle, right = self._points[:, chosen]
        count, start = len(chosen), len(self._place)
        sides = ((left, middle), (middle, right))
        places = np.concatenate([(self._place[a] + self._place[b]) / 2 for a, b in sides])
        self._look(np.tile(self._group[middle], 2), places)
        first = np.arange(start, start + count)
        halves = np.concatenate([[left, first, middle], [middle, first + count, right]], axis=1)
        self._points = np.concatenate([np.delete(self._points, chosen, axis=1), halves], axis=1)
        return True

    def _worst(self, errors: Array, going: Array) -> Array:
        """Of each group the fewest intervals without which the others would err by little enough."""
        group = self._group[self._points[0]]
        squares = (errors / self._allowed[group]) ** 2
        squares = np.where(going[group], np.nan_to_num(squares), 0.0).max(1)
        order = np.lexsort((squares, group))  # of each group the best first
        ordered = group[order]
        below = np.cumsum(squares[order])
        everyone = np.arange(self._groups)
        begins, ends = (np.searchsorted(ordered, everyone, side=s) for s in ("left", "right"))
        below -= np.concatenate([[0.0], below])[begins][ordered]
        rank = ends[ordered] - 1 - np.arange(len(ordered))  # 0 for the worst
        room = (self._most - np.bincount(self._group, minlength=self._groups)) // 2
        large = (below > 0.5) | (rank == 0)
        open_ = np.asarray(going.any(1))[ordered] & (rank < room[ordered])
        chosen: Array = np.sort(order[large & open_])
        return chosen

    def result(self) -> Refined:
        """The integrals, by the weights of the last intervals."""
        errors, weights = self._errors(), np.zeros(len(self._place))
        np.add.at(weights, self._points, self._weights())
        first = 0
        totals = [p.new_zeros(self._groups, *p.shape[1:]) for p in self._found[0].parts]
        for found in self._found:
            numbers = slice(first, first + len(found.outputs))
            first = numbers.stop
            (used,) = np.nonzero(weights[numbers])
            groups = torch.from_numpy(self._group[numbers][used])
            for index, part in enumerate(found.parts):
                factors = torch.from_numpy(weights[numbers][used]).to(part.dtype)
                weighed = part[torch.from_numpy(used).to(part.device)] * column(factors, part)
                totals[index] = totals[index].index_add(0, groups.to(part.device), weighed)
        gaps = np.abs(self._sums(errors)) / self._change
        done = self._is_done(errors)
        gaps = np.where(done & (self._change == 0), 0.0, gaps)
        steps = np.bincount(self._group, minlength=self._groups)[:, None] + np.zeros_like(done)
        taken = Taken(*(torch.from_numpy(t.reshape(-1)) for t in (steps, gaps, done)))
        points = list(
            zip(weights[weights != 0].tolist(), self._place[weights != 0].tolist(), strict=True)
        )
        return Refined(tuple(totals), points, taken)
