"""Captum's steps in passes of the right size, where the examples of a batch are proved not to meet.

Each size that a call uses is watched once, in a pass that is work anyway; what it shows decides whether the
call may be divided. What does not prove is left to Captum's code, all steps at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_xdnn._captum import IntegratedGradients, compute_gradients
from captum_xdnn._torch import compiled_frames
from captum_xdnn.checks.completeness import loosest, precision_of
from captum_xdnn.checks.gradient_law import custom_functions_of
from captum_xdnn.proof.verdict import Verdict
from captum_xdnn.proof.watching import Watched, watch
from captum_xdnn.routes.checked import differing
from captum_xdnn.routes.gradients import by_rows, gradient_of_each
from captum_xdnn.routes.known_functions import memory_of
from captum_xdnn.routes.request import Call, Request
from captum_xdnn.routes.request import rows as joined
from captum_xdnn.routes.single_pass import explained
from captum_xdnn.routes.sizes import WORTH_DIVIDING, Sizes, clock, is_out_of_memory

OUT_OF_MEMORY = (
    "{}\nCaptum runs all steps at once, {} rows, and this call could not be divided by itself. "
    "internal_batch_size bounds the rows of a pass"
)
NO_SMALLER = "{}\nThis was a pass of a single row: no internal_batch_size makes it smaller"

Steps = list[tuple[float, float]]
"""Weights and places on the ray."""


class Together(Exception):  # noqa: N818 - control flow inside this room, never shown
    """All steps have to run at once."""


class _OutOfMemory(Exception):  # noqa: N818 - control flow inside this room, never shown
    """A pass did not fit."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        # Without its frames, which hold the tensors of the pass.
        self.error = error.with_traceback(None)


def integrated(
    request: Request,
    sizes: Sizes | None,
    max_memory: int | None,
    at_once: Callable[[], tuple[Tensor, ...]],
) -> tuple[Tensor, ...]:
    """Captum's attributions: in passes of the right size, or by Captum's code, all steps at once.

    Raises:
        torch.OutOfMemoryError: If the steps do not fit and may not be divided; the message names the
            argument that bounds a pass. On a CPU the types are torch's as well.
    """
    n_steps = request.quadrature.n_steps
    rows = n_steps * request.call.size
    found = None
    if sizes is not None:
        sizes.begin()
        found = _in_passes(request, sizes, max_memory)
    if found is not None:
        return found
    start = clock()
    try:
        found = at_once()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        failed = error.with_traceback(None)  # its frames hold the tensors of the pass
    else:
        if sizes is not None:
            sizes.note(n_steps, (clock() - start) / n_steps)
        return found
    if sizes is not None:
        sizes.forbid(rows)
        found = _in_passes(request, sizes, max_memory)
    if found is None:
        raise type(failed)(OUT_OF_MEMORY.format(failed, rows)) from failed
    return found


def _in_passes(request: Request, sizes: Sizes, max_memory: int | None) -> tuple[Tensor, ...] | None:
    passes = _Passes(request, sizes, max_memory)
    if passes.memory.undivided or passes.fit_at_once():
        return None
    try:
        totals = passes.total(request.call, list(zip(*request.quadrature.nodes(), strict=True)))
    except Together:
        return None
    if not request.multiply_by_inputs:
        return totals
    return tuple(map(torch.mul, totals, request.call.differences()))


class _Passes:
    """The passes of one call."""

    def __init__(self, request: Request, sizes: Sizes, max_memory: int | None) -> None:
        self.request, self.sizes, self.max_memory = request, sizes, max_memory
        self.memory = memory_of(request.forward_func)
        self.device = request.call.inputs[0].device
        self.total_steps = request.quadrature.n_steps
        self._seen: set[int] = set()  # rows of passes that were watched in this call
        self._copies = 1
        self._captum = IntegratedGradients(request.forward_func, multiply_by_inputs=False)

    def fit_at_once(self) -> bool:
        """Whether dividing gains nothing and is not needed."""
        rows = self.total_steps * self.request.call.size
        most = self._most()
        if most is not None and most < rows:
            return False
        return self.device.type != "cpu" or rows * self.sizes.row_bytes < WORTH_DIVIDING

    def _most(self) -> int | None:
        return self.sizes.rows(self.device, self.max_memory)

    def total(self, call: Call, steps: Steps) -> tuple[Tensor, ...]:
        """Captum's weighted sum of the gradients at some steps.

        Raises:
            Together: If the call may not be divided.
        """
        total: tuple[Tensor, ...] = ()
        done = 0
        while done < len(steps):
            left, most = len(steps) - done, self._most()
            if most is not None and most < call.size:
                return _sum(total, self._by_examples(call, steps[done:], most))
            bound = left if most is None else most // call.size
            count = min(left, self._next(call.size, left, bound))
            rows, start = call.size * count, clock()
            if rows == self.request.call.size * self.total_steps:
                raise Together
            is_known = rows in self._seen
            try:
                found = self._pass(call, steps[done : done + count])
            except _OutOfMemory as error:
                if rows == 1:
                    raise type(error.error)(NO_SMALLER.format(error.error)) from error.error
                self.sizes.forbid(rows)
                continue
            if is_known and len(call.inputs[0]) == self.request.call.size:
                self.sizes.note(count, (clock() - start) / count)
            total, done = _sum(total, found), done + count
        return total

    def _next(self, size: int, left: int, most: int) -> int:
        """How many steps to take next."""
        if self.device.type != "cpu":
            return most
        met = {rows // size for rows in self._seen}
        return self.sizes.together(size, left, self.total_steps, most, met)

    def _by_examples(self, call: Call, steps: Steps, most: int) -> tuple[Tensor, ...]:
        """The sum at some steps, of consecutive parts of the examples one after the other."""
        if not call.is_plain(most):
            raise Together
        return joined([self.total(part, steps) for part in call.chunks(most)])

    def _pass(self, call: Call, steps: Steps) -> tuple[Tensor, ...]:
        rows = call.size * len(steps)
        known = by_rows(compute_gradients)
        self._captum.gradient_func = known if rows in self._seen else self._watched
        self._copies = len(steps)
        compiled = compiled_frames()
        weights, places = zip(*steps, strict=True)
        try:
            found: tuple[Tensor, ...] = self._captum._attribute(
                inputs=call.inputs,
                baselines=call.baselines,
                target=call.target,
                additional_forward_args=call.arguments or None,
                n_steps=len(steps),
                step_sizes_and_alphas=(list(weights), list(places)),
            )
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise _OutOfMemory(error) from None
            raise
        if compiled_frames() != compiled:  # each size is compiled anew
            self.memory.undivided = True
            raise Together
        self._seen.add(rows)
        return found

    def _watched(
        self,
        forward_fn: Any,
        inputs: tuple[Tensor, ...],
        target_ind: Any = None,
        additional_forward_args: Any = None,
    ) -> tuple[Tensor, ...]:
        """Captum's gradients of a run that is proved to keep its rows apart."""
        arguments = additional_forward_args or ()
        watched = watch(forward_fn, inputs, (0,) * len(inputs), arguments, placed=False)
        verdict = watched.verdict
        if verdict is None or not _keeps_apart(watched, verdict):
            watched.put_back()
            if is_out_of_memory(watched.error):
                raise torch.OutOfMemoryError(str(watched.error))
            raise Together
        real = watched.output.detach()
        with torch.enable_grad():
            outputs = explained(watched.output, target_ind)
            gradients = gradient_of_each(outputs, inputs)
            del outputs
        watched.output = None
        if _is_kept(watched, verdict):
            raise Together
        if verdict not in self.memory.apart:
            if not self._agrees(real, verdict, (*inputs, *arguments), len(inputs)):
                raise Together
            self.memory.apart.add(verdict)
        return gradients

    def _agrees(self, real: Tensor, verdict: Verdict, given: tuple[Any, ...], number: int) -> bool:
        """Whether the function gives the same rows in a batch of another size, which Python may read."""
        size = len(real) // self._copies
        fewer = size if self._copies > 1 else size // 2  # examples of the first step
        repeats = 1 if fewer else 2
        fewer = max(1, fewer)

        def part(value: Any) -> Any:
            if not isinstance(value, Tensor) or not value.dim():
                return value
            return torch.cat([value.detach()[:fewer]] * repeats)

        with torch.no_grad():
            output = self.request.forward_func(*map(part, given))
        if not isinstance(output, Tensor) or len(output) != fewer * repeats:
            return False
        inputs = given[:number]
        precision = loosest(precision_of(inputs, verdict.graph.coarsest), inputs)
        return not differing(output[:fewer], real[:fewer], precision)


def _keeps_apart(watched: Watched, verdict: Verdict) -> bool:
    """Whether rows do not meet, forward or backward, and the run leaves nothing and draws nothing."""
    if not verdict.keeps_rows_apart or verdict.form[2]:
        return False
    if watched.noted.changed() or watched.noted.rolled() or watched.tape is None:
        return False
    return not watched.tape.touches and not custom_functions_of(watched.output)


def _is_kept(watched: Watched, verdict: Verdict) -> bool:
    """Whether code outside keeps what the run computed, of which it would find less, or more often."""
    tape = watched.tape
    return tape is None or any(number in verdict.moving for _, number in tape.survivors())


def _sum(total: tuple[Tensor, ...], part: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(map(torch.add, total, part)) if total else part
