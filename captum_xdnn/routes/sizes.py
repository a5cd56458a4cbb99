"""How many steps of the integral go through a function together where memory does not take all: found while working.

Captum runs all steps at once, and so does this where they fit: for speed alone nothing is divided (see Architecture,
What a call costs). The steps are work anyway, so passes of different sizes are timed where they are made.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from captum_xdnn.proof.nodes import is_operation
from captum_xdnn.proof.verdict import Verdict
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.operations import operation_of

FIRST = 8 * 2**20
"""Bytes of the first pass that is tried on a CPU."""
LIGHT = 2**30
"""Bytes up to which passes may be of any size; beyond, a pass takes a quarter of the steps at most, unless larger
ones are faster and faster."""
BETTER = 0.97
"""What a larger pass has to take of the time per step: it takes more memory."""
BLOCK = 16
"""Rows of a pass are a multiple of this, but for the last pass, which takes what is left to it: the products of a CPU go by blocks of
rows, and only the rows of a last, shorter block are rounded otherwise. So each row has the very numbers that it has with
all steps at once."""
NEW = 2
"""So many sizes are met in a call before it tries no other: each is proved anew."""
ROOM = 0.7
"""Share of a GPU's free memory that is used: the gradients of the largest tensors come on top."""


def _clock() -> Any:
    """The processor time of this thread, which other processes do not disturb, where that is fine enough."""
    fine = time.get_clock_info("thread_time").resolution < 1e-6
    return time.thread_time if fine else time.perf_counter


clock = _clock()


def whole_blocks(size: int) -> int:
    """The fewest steps whose rows are whole blocks."""
    return BLOCK // math.gcd(size, BLOCK)


def aligned(size: int, steps: int) -> int:
    """As many steps as make whole blocks of rows, of so many; all of them where they make none."""
    return steps - steps % whole_blocks(size) if steps >= whole_blocks(size) else steps


class Sizes:
    """What is known of passes of different sizes through runs of one structure.

    Attributes:
        row_bytes: What the results of a forward pass take for each row.
    """

    def __init__(self, row_bytes: int) -> None:
        self.row_bytes = max(1, row_bytes)
        self._most: int | None = None  # the rows that fitted where more did not
        self._calls = 0  # since then
        self._seconds: dict[int, float] = {}

    def forbid(self, rows: int) -> None:
        """Note that so many rows did not fit into the memory: half as many may."""
        most, self._calls = max(1, rows // 2), 0
        self._most = most if self._most is None else min(self._most, most)

    def begin(self) -> None:
        """Note that a call begins: every eighth after memory ran out tries twice as much of it."""
        self._calls += 1
        if self._most is not None and self._calls % 8 == 0:
            self._most *= 2

    def note(self, steps: int, seconds: float) -> None:
        """Note what a step took in a pass of so many."""
        self._seconds[steps] = min(seconds, self._seconds.get(steps, seconds))

    def rows(self, device: torch.device, max_memory: int | None) -> int | None:
        """How many rows may go through the function together; None for any number."""
        bounds = [] if self._most is None else [self._most]
        if max_memory is not None:
            bounds.append(max(1, max_memory // self.row_bytes))
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            bounds.append(max(1, int(ROOM * free) // self.row_bytes))
        return min(bounds, default=None)

    def together(self, size: int, left: int, total: int, most: int, met: set[int]) -> int:
        """How many steps to take next, of those that are left; ``met`` are those of this call's passes.

        The first pass of a size is none to be timed, so a size that is new takes two.
        """
        best = self._best()
        most = aligned(size, most)
        for steps in self._untried(size, total):
            needed = steps if steps in met else 2 * steps
            if steps <= most and needed <= left and (steps in met or len(met) < NEW):
                return steps
        return min(best or self._first(size, total), most)

    def _untried(self, size: int, total: int) -> list[int]:
        step, best = size * self.row_bytes, self._best()
        if best is None:
            return [self._first(size, total)]
        upper = 2 * best
        fits = upper * step <= LIGHT or upper <= total // 4 or self._is_rising()
        near = [upper] * (fits and 2 * upper <= total) + [max(1, aligned(size, best // 2))]
        return [steps for steps in near if steps not in self._seconds]

    def _is_rising(self) -> bool:
        """Whether the largest size that was tried is the best, and better than half of it."""
        best = self._best()
        return best is not None and best == max(self._seconds) and best // 2 in self._seconds

    def _first(self, size: int, total: int) -> int:
        steps = min(FIRST // (size * self.row_bytes), total // 4)
        return min(total, aligned(size, max(whole_blocks(size), steps)))

    def _best(self) -> int | None:
        best = None
        for steps in sorted(self._seconds):
            if best is None or self._seconds[steps] < BETTER * self._seconds[best]:
                best = steps
        return best


def sizes_of(verdict: Verdict | None, arguments: tuple[Any, ...]) -> Sizes | None:
    """What is known of the sizes of passes of such runs; None where the steps stay together."""
    if verdict is None or not verdict.keeps_rows_apart or verdict.form[2]:
        return None
    size = verdict.graph.size
    tensors = [a for a in arguments if isinstance(a, Tensor) and a.dim()]
    if any(len(t) != size for t in tensors):  # Captum repeats them for each step
        return None
    sizes: Sizes | None = verdict.kept.get("sizes")
    if sizes is None:
        sizes = verdict.kept["sizes"] = Sizes(bytes_of(verdict.graph.nodes) // size)
    return sizes


def bytes_of(nodes: Sequence[Node]) -> int:
    """The bytes of what nodes of a run computed: about what autograd holds, and the largest twice more."""
    found = [0]
    for node in nodes:
        if is_operation(node.target) and not operation_of(node.target).shows:
            values = node.value if isinstance(node.value, tuple) else (node.value,)
            found += [v.numel() * v.element_size() for v in values if v is not None]
    return max(1, sum(found) + 2 * max(found))
