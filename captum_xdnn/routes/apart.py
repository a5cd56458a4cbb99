"""Runs of a function whose examples are proved not to meet, so that any rows may go through it together.

Each number of rows that a call uses is watched once, in a pass that is work anyway; what it shows decides
whether the call may be divided.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from captum_xdnn._torch import compiled_frames
from captum_xdnn.checks.completeness import loosest, precision_of
from captum_xdnn.checks.gradient_law import custom_functions_of
from captum_xdnn.errors import is_out_of_memory, without_frames
from captum_xdnn.proof.verdict import Verdict
from captum_xdnn.proof.watching import Watched, watch
from captum_xdnn.routes.checked import differing
from captum_xdnn.routes.gradients import gradient_of_each
from captum_xdnn.routes.known_functions import memory_of
from captum_xdnn.routes.single_pass import explained
from captum_xdnn.routes.sizes import Sizes

T = TypeVar("T")


NO_SMALLER = "{}\nThis was a pass of a single row: no internal_batch_size makes it smaller"


class Together(Exception):  # noqa: N818 - control flow inside this room, never shown
    """All steps have to run at once."""


class OutOfMemory(Exception):  # noqa: N818 - control flow inside this room, never shown
    """A pass did not fit."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = without_frames(error)

    def of_one_row(self) -> Exception:
        """The error where no pass can be smaller."""
        return type(self.error)(NO_SMALLER.format(self.error))


class Apart:
    """The runs of one call.

    Attributes:
        seen: Numbers of rows of which a run was watched.
    """

    def __init__(self, function: Callable[..., Any], sizes: Sizes) -> None:
        self.function, self.sizes, self.memory = function, sizes, memory_of(function)
        self.seen: set[int] = set()
        self._gives_the_same = False

    def run(self, rows: int, compute: Callable[[], T]) -> T:
        """What a pass of so many rows gives.

        Raises:
            OutOfMemory: If it did not fit.
            Together: If the call may not be divided.
        """
        compiled, failed = compiled_frames(), None
        try:
            found = compute()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            failed = error
        if failed is not None:
            raise OutOfMemory(failed)
        if compiled_frames() != compiled:  # each size is compiled anew
            self.memory.undivided = sys.maxsize
            raise Together
        self.seen.add(rows)
        return found

    def watched(
        self,
        inputs: tuple[Tensor, ...],
        target: Any,
        arguments: tuple[Any, ...],
        size: int,
        *,
        differentiate: bool = True,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The explained outputs of a run that is proved to keep its rows apart, and Captum's gradients.

        That a batch of ``size`` rows gives the same is looked at once in a call.
        """
        starts = (0,) * len(inputs)
        watched = watch(self.function, inputs, starts, arguments, placed=False, valued=False)
        verdict = watched.verdict
        if verdict is None or not keeps_apart(watched, verdict):
            put_back(watched)
            raise Together
        real = watched.output.detach()
        outputs, gradients = real, tuple[Tensor, ...]()
        if differentiate:
            with torch.enable_grad():
                chosen = explained(watched.output, target)
                gradients = gradient_of_each(chosen, inputs)
                outputs = chosen.detach()
                del chosen
        watched.output = None
        if is_kept(watched, verdict):
            raise Together
        if not self._gives_the_same:
            if not gives_the_same(self.function, inputs, arguments, real, verdict, size):
                raise Together
            self._gives_the_same = True
        return outputs, gradients


def put_back(watched: Watched) -> None:
    """Leave the network as it was before a run.

    Raises:
        torch.OutOfMemoryError: If memory ran out in it.
    """
    watched.put_back()
    if watched.error is not None and is_out_of_memory(watched.error):
        raise watched.error


def keeps_apart(watched: Watched, verdict: Verdict) -> bool:
    """Whether rows do not meet, forward or backward, and the run changes nothing and draws nothing."""
    if not verdict.keeps_rows_apart or verdict.form[2]:
        return False
    noted = watched.noted
    if noted.changed() or noted.rolled() or noted.drawn() or watched.tape is None:
        return False
    if watched.tape.saved:  # tensors of the user's, which it may have written into
        return False
    return not watched.tape.touches and not custom_functions_of(watched.output)


def is_kept(watched: Watched, verdict: Verdict) -> bool:
    """Whether code outside keeps what the run computed, of which it would find less, or more often."""
    tape = watched.tape
    return tape is None or any(number in verdict.moving for _, number in tape.survivors())


def gives_the_same(
    function: Callable[..., Any],
    inputs: tuple[Tensor, ...],
    arguments: tuple[Any, ...],
    output: Tensor,
    verdict: Verdict,
    size: int,
) -> bool:
    """Whether the function gives the same rows in a batch of another size, which Python may read.

    It runs once more on the last ``size`` rows, which know of others if rows do; on half of them, or twice on a
    single one, where the run had no more. What it says of the size is no part of its operations, and may be another in each call.
    """
    whole = len(output) == size
    fewer = max(1, size // 2) if whole else size
    repeats = 2 if whole and size == 1 else 1

    def part(value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.dim():
            return value
        return torch.cat([value.detach()[-fewer:]] * repeats)

    if any(isinstance(a, Tensor) and a.layout is not torch.strided for a in arguments):
        return False
    leaves = tuple(part(x).requires_grad_() for x in inputs)
    given, starts = tuple(map(part, arguments)), (0,) * len(inputs)
    again = watch(function, leaves, starts, given, placed=False, valued=False)
    put_back(again)
    found = again.output
    if not isinstance(found, Tensor) or len(found) != fewer * repeats:
        return False
    precision = loosest(precision_of(inputs, verdict.graph.coarsest), (*inputs, output))
    return not differing(found[:fewer].detach(), output[-fewer:], precision)
