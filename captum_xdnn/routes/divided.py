"""The passes of one call whose steps are divided, because the examples of a batch are proved not to meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from captum_xdnn._captum import (
    IntegratedGradients,
    compute_gradients,
    expand_additional_forward_args,
)
from captum_xdnn.routes.apart import Apart, OutOfMemory, Together
from captum_xdnn.routes.gradients import by_rows
from captum_xdnn.routes.request import Call, Request
from captum_xdnn.routes.request import rows as joined
from captum_xdnn.routes.sizes import Sizes, aligned, clock, whole_blocks

SKIPPED = 15
"""So many calls are left whole after one that could not be divided, before one is looked at again."""

T = TypeVar("T")
Steps = list[tuple[float, float]]
"""Weights and places on the ray."""


@dataclass(frozen=True)
class Way:
    """How Captum computes some of the steps.

    Attributes:
        compute: Takes a call, and weights and places of some steps.
        overlap: How many places a part of the steps shares with the next.
    """

    compute: Callable[[Call, list[float], list[float]], tuple[Tensor, ...]]
    overlap: int = 0


class Passes:
    """The passes of one call."""

    def __init__(self, request: Request, sizes: Sizes, way: Way | None) -> None:
        self.request, self.sizes, self.way = request, sizes, way
        self.apart = Apart(request.forward_func, sizes)
        self.device = request.call.inputs[0].device
        self.total_steps = request.quadrature.n_steps
        self._gradients: list[tuple[Tensor, ...]] | None = None  # of the passes that are compared

    def result(self) -> tuple[Tensor, ...] | None:
        """The attributions; None where all steps run at once, by Captum's code."""
        memory, block = self.apart.memory, None
        spent = memory.spent
        if self._fit_at_once():
            size = self.request.call.size
            # For speed alone: not on a GPU, and not the averages of layers, which Captum sums up in ways of its own.
            if (
                self.device.type != "cpu"
                or self.way is not None
                or not self.sizes.gains(size, self.total_steps, spent)
            ):
                return None
            block = self.sizes.to_compare(size, self.total_steps, spent)
        if memory.undivided:
            memory.undivided -= 1
            return None
        call, start = self.request.call, clock()
        compute = self.total if block is None else partial(self._compared, block)
        try:
            totals = compute(call, list(zip(*self.request.quadrature.nodes(), strict=True)))
        except Together:
            memory.undivided = max(memory.undivided, SKIPPED)
            return None
        if self.way is None and block is None:
            seconds = clock() - start
            spent.note(seconds, self.sizes.lost(seconds, self.total_steps))
            self.sizes.note_divided(seconds / self.total_steps)
        if not self.request.multiply_by_inputs:
            return totals
        return tuple(map(torch.mul, totals, call.differences()))

    def at_once(self, compute: Callable[[], T]) -> T:
        """What Captum's code gives, and note what it takes."""
        start = clock()
        found = compute()
        if self.way is None:  # another way through the same structure takes another time
            seconds = clock() - start
            self.apart.memory.spent.note(seconds)
            self.sizes.note_at_once(seconds / self.total_steps, self.total_steps)
        return found

    def _compared(self, block: int, call: Call, steps: Steps) -> tuple[Tensor, ...]:
        """The sum of all steps at once, and note whether so many by themselves have the same gradients.

        More than whole blocks of them are the last ones, backwards: so a row of the last, shorter block of all steps
        is in a whole one, and the other way round, as where each pass takes one step more.
        """
        self._gradients = []
        backwards, start = block % whole_blocks(call.size) > 0, clock()
        try:
            self._pass(call, (steps[::-1] if backwards else steps)[:block])
            seconds = clock() - start
            self.apart.memory.spent.note(seconds, lost=seconds)
            found = self.at_once(lambda: self._pass(call, steps, divides=False))
            pairs = zip(*self._gradients, strict=True)
            same = all(
                torch.equal(few, _first(rows, len(steps), block, backwards)) for few, rows in pairs
            )
            self.sizes.note_same(block, len(steps), same)
        except OutOfMemory:
            self.sizes.forbid(call.size * len(steps))
            return self.total(call, steps)
        finally:
            self._gradients = None
        return found

    def _fit_at_once(self) -> bool:
        """Whether memory takes all steps at once, as far as is known."""
        most = self._most()
        return most is None or most >= self.total_steps * self.request.call.size

    def _most(self) -> int | None:
        return self.sizes.rows(self.device, self.request.max_memory)

    def total(self, call: Call, steps: Steps) -> tuple[Tensor, ...]:
        """Captum's weighted sum of the gradients at some steps.

        Raises:
            Together: If the call may not be divided.
        """
        total: tuple[Tensor, ...] = ()
        done, overlap = 0, 0 if self.way is None else self.way.overlap
        while done < len(steps) - overlap:
            left, most = len(steps) - done, self._most()
            if most is not None and most < call.size * (1 + overlap) and call.size > 1:
                fewer = aligned(1, max(1, most // (1 + overlap)))
                return _sum(total, self._by_examples(call, steps[done:], fewer))
            bound = left if most is None else most // call.size
            least = min(left, max(1 + overlap, self._next(call.size, left, bound)))
            count = self.sizes.with_the_rest(call.size, least, left, self.total_steps, bound)
            rows, start = call.size * count, clock()
            is_known = rows in self.apart.seen
            try:
                found = self._pass(call, steps[done : done + count])
            except OutOfMemory as error:
                if count == 1 + overlap and call.size == 1:
                    raise error.of_one_row() from error.error
                self.sizes.forbid(rows)
                continue
            if is_known and len(call.inputs[0]) == self.request.call.size:
                self.sizes.note(least, (clock() - start) / count)
            total, done = _sum(total, found), done + count - overlap
        return total

    def _next(self, size: int, left: int, most: int) -> int:
        """How many steps to take next."""
        if self.device.type != "cpu":
            return aligned(size, most)
        met = {aligned(size, rows // size) for rows in self.apart.seen}
        return self.sizes.together(size, left, self.total_steps, most, met)

    def _by_examples(self, call: Call, steps: Steps, most: int) -> tuple[Tensor, ...]:
        """The sum at some steps, of consecutive parts of the examples one after the other."""
        if call.size > most and not call.is_divisible():
            raise Together
        return joined([self.total(part, steps) for part in call.chunks(most)])

    def _pass(self, call: Call, steps: Steps, *, divides: bool = True) -> tuple[Tensor, ...]:
        """The sum at some steps; where these are not all, what runs is proved to keep its rows apart."""
        rows = call.size * len(steps)
        weights, places = map(list, zip(*steps, strict=True))

        def compute() -> tuple[Tensor, ...]:
            if self.way is None:
                is_new = divides and rows not in self.apart.seen
                return self._weighted_sum(call, weights, places, is_new=is_new)
            if rows not in self.apart.seen:
                self._watch(call, places)
            return self.way.compute(call, weights, places)

        return self.apart.run(rows, compute)

    def _weighted_sum(
        self, call: Call, weights: list[float], places: list[float], *, is_new: bool
    ) -> tuple[Tensor, ...]:
        def gradients(
            forward_fn: Any, inputs: Any, target_ind: Any, additional_forward_args: Any
        ) -> tuple[Tensor, ...]:
            if is_new:
                size, further = len(inputs[0]) // len(places), additional_forward_args or ()
                found = self.apart.watched(inputs, target_ind, further, size)[1]
            else:
                compute = by_rows(compute_gradients)
                found = compute(forward_fn, inputs, target_ind, additional_forward_args)
            if self._gradients is not None:
                self._gradients.append(found)
            return found

        # Of this pass alone: in a circle with this object it would outlive the call.
        captum = IntegratedGradients(self.request.forward_func, multiply_by_inputs=False)
        captum.gradient_func = gradients
        found: tuple[Tensor, ...] = captum._attribute(
            inputs=call.inputs,
            baselines=call.baselines,
            target=call.target,
            additional_forward_args=call.arguments or None,
            n_steps=len(places),
            step_sizes_and_alphas=(weights, places),
        )
        return found

    def _watch(self, call: Call, places: list[float]) -> None:
        """Watch a run at some places, which is no work of a way that differentiates by layers."""
        pairs = zip(call.inputs, call.baselines, strict=True)
        inputs = tuple(
            torch.cat([b + a * (x.detach() - b) for a in places]).requires_grad_() for x, b in pairs
        )
        further = expand_additional_forward_args(call.arguments, len(places)) or ()
        self.apart.watched(inputs, None, further, call.size, differentiate=False)


def _sum(total: tuple[Tensor, ...], part: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(map(torch.add, total, part)) if total else part


def _first(rows: Tensor, steps: int, count: int, backwards: bool) -> Tensor:
    """The rows of the first of all steps, or of the last."""
    parts = rows.chunk(steps)
    return torch.cat((parts[::-1] if backwards else parts)[:count])
