"""How many steps of the integral go through a function together: what fits, and what is fastest, found while working.

Captum runs all steps at once. Passes that fit a CPU's caches are often faster, and take less memory; the steps are
work anyway, so passes of different sizes are timed where they are made.
"""

from __future__ import annotations

import math
import time
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captum_xdnn.proof.nodes import is_operation
from captum_xdnn.proof.verdict import Verdict
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.operations import operation_of
from captum_xdnn.recording.steps import sized_in

WORTH_DIVIDING = 64 * 2**20
"""Bytes that all steps at once take, below which dividing them gains nothing on a CPU."""
FIRST = 8 * 2**20
"""Bytes of the first pass that is tried on a CPU."""
LIGHT = 2**30
"""Bytes up to which passes may be of any size; beyond, a pass takes a quarter of the steps at most, unless larger
ones are faster and faster."""
BETTER = 0.97
"""What a larger pass has to take of the time per step: it takes more memory."""
BLOCK = 16
"""Rows of a pass are a multiple of this; what is left goes with the last pass. The products of a CPU go by blocks of
rows, and only the rows of a last, shorter block are rounded otherwise. So each row has the very numbers that it has with
all steps at once, which is looked at before steps are divided for speed: a network that stands on its kinks makes more
of another rounding than the last digits (1.5e-3 of an untrained fcn_resnet50's attributions). Most networks round one
more row as all at once, too; then each pass takes one of the steps that are left, which is less memory: 17, 17 and 16
rows instead of 16, 16 and 18."""
SHARE = 0.05
"""Of the time that a function's calls take, what looking for faster passes may cost beyond its first look: what is fast
belongs to a structure, and a function that takes texts of all lengths has many, each seen a few times."""
PATIENCE = 3
"""So many calls are divided before all steps at once count as faster: one alone may have met a busy machine."""
CLEARLY = 1.1
"""What is slower by this counts as slower after one call."""
AGAIN = 16
"""In one of so many calls passes are tried that have been slower than all steps at once: a machine that was busy
elsewhere makes them seem so."""
NEW = 2
"""So many sizes are met in a call before it tries no other: each is proved anew."""
MEMORY = Path("/proc/meminfo")
ROOM = 0.7
"""Share of the free memory that is used: the gradients of the largest tensors come on top."""


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


class Spent:
    """What looking for faster passes has cost one function, and what its calls have taken."""

    def __init__(self) -> None:
        self._seconds, self._lost, self._has_looked = 0.0, 0.0, False

    def note(self, seconds: float, lost: float = 0.0) -> None:
        """Note what a call or a look took, and how much of it was lost; less than nothing where it was won."""
        self._seconds += seconds
        self._lost += lost

    def allows(self, seconds: float) -> bool:
        """Whether a look may cost so much; the first one may."""
        is_first, self._has_looked = not self._has_looked, True
        return is_first or self._lost + seconds <= SHARE * self._seconds


class Sizes:
    """What is known of passes of different sizes through runs of one structure.

    Attributes:
        row_bytes: What the results of a forward pass take for each row.
    """

    def __init__(self, row_bytes: int) -> None:
        self.row_bytes = max(1, row_bytes)
        self._same: dict[tuple[int, int, int], bool] = {}  # by steps, of all and number of threads
        self._at_once = math.inf
        self._whole: set[int] = set()  # the numbers of steps that ran at once
        self._most: int | None = None  # the rows that fitted where more did not
        self._calls = 0  # since then
        self._seconds: dict[int, float] = {}
        self._divided, self._tried = math.inf, 0

    def forbid(self, rows: int) -> None:
        """Note that so many rows did not fit into the memory: half as many may."""
        most, self._calls = max(1, rows // 2), 0
        self._most = most if self._most is None else min(self._most, most)

    def begin(self) -> None:
        """Note that a call begins: every eighth after memory ran out tries twice as much of it."""
        self._calls += 1
        if self._most is not None and self._calls % 8 == 0:
            self._most *= 2

    def is_same(self, steps: int, total: int) -> bool | None:
        """Whether rows of a pass of so many steps have the very gradients that they have with all steps at once.

        None where that was not looked at, with this number of threads.
        """
        return self._same.get((steps, total, torch.get_num_threads()))

    def note_same(self, steps: int, total: int, same: bool) -> None:
        """Note what was seen."""
        self._same[steps, total, torch.get_num_threads()] = same

    def lost(self, seconds: float, steps: int) -> float:
        """How much longer so many steps took than in a pass of all of them; nothing where that is not known."""
        return 0.0 if math.isinf(self._at_once) else seconds - steps * self._at_once

    def to_compare(self, size: int, total: int, spent: Spent) -> int | None:
        """The steps of a pass that is to be looked at next: whole blocks, or one step more where these were faster."""
        block = whole_blocks(size)
        if self.is_same(block, total) is None:
            return block
        further = block + 1
        is_next = total % block and self._is_faster() and self.is_same(further, total) is None
        return further if is_next and spent.allows(further * self._at_once) else None

    def gains(self, size: int, total: int, spent: Spent) -> bool:
        """Whether fewer steps in a pass on a CPU may be faster than all at once, and are not known to be slower."""
        rows = size * total
        # Of fewer steps than two blocks have, all that are left go with the first pass.
        if rows * self.row_bytes < WORTH_DIVIDING or total < 2 * whole_blocks(size):
            return False
        block = whole_blocks(size)
        same = self.is_same(block, total)
        if same is None:
            # In the second call: many functions are made for one.
            return total in self._whole and spent.allows(block * self._at_once)
        return same and (self._is_faster() is not False or self._calls % AGAIN == 0)

    def _is_faster(self) -> bool | None:
        """Whether calls of several passes take no longer than all steps at once; None after too few of them."""
        if self._tried < (1 if self._divided > CLEARLY * self._at_once else PATIENCE):
            return None
        return self._at_once >= BETTER * self._divided

    def note_at_once(self, seconds: float, total: int) -> None:
        """Note what a step took in a pass of all of them."""
        self._at_once = min(seconds, self._at_once)
        self._whole.add(total)

    def note_divided(self, seconds: float) -> None:
        """Note what a step took in a call of several passes, the watching of them included."""
        self._divided, self._tried = min(seconds, self._divided), self._tried + 1

    def note(self, steps: int, seconds: float) -> None:
        """Note what a step took in a pass of so many."""
        self._seconds[steps] = min(seconds, self._seconds.get(steps, seconds))

    def rows(self, device: torch.device, max_memory: int | None) -> int | None:
        """How many rows may go through the function together; None for any number."""
        bounds = [] if self._most is None else [self._most]
        if max_memory is not None:
            bounds.append(max(1, max_memory // self.row_bytes))
        free = _free(device)
        if free is not None:
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

    def with_the_rest(self, size: int, steps: int, left: int, total: int, most: int) -> int:
        """So many steps, and a share of what would be left and is no block: one, or all with the last pass."""
        passes, rest = divmod(left, steps)
        if not 0 < rest < whole_blocks(size):
            return steps
        if rest <= passes and steps < most and self.is_same(whole_blocks(size) + 1, total):
            return steps + 1
        return left if passes == 1 and left <= most else steps

    def _untried(self, size: int, total: int) -> list[int]:
        step, best = size * self.row_bytes, self._best()
        if best is None:
            return [self._first(size, total)]
        upper = 2 * best
        fits = upper * step <= LIGHT or upper <= total // 4 or self._is_rising()
        near = [upper] * (fits and 2 * upper <= total)
        near += [aligned(size, best // 2)] * (best // 2 >= whole_blocks(size))
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


def _free(device: torch.device) -> int | None:
    """The free bytes of a device's memory, where it says so: a CPU's process is killed when they run out."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "cpu" and MEMORY.exists():
        with MEMORY.open("rb", buffering=0) as file:  # it takes longer to take its lines apart
            _, _, rest = file.read(256).partition(b"MemAvailable:")
        return 1024 * int(rest.split(None, 1)[0]) if rest else None
    return None


def sizes_of(
    verdict: Verdict | None, arguments: tuple[Any, ...], known: MutableMapping[Verdict, Sizes]
) -> Sizes | None:
    """What is known of the sizes of passes of a function's runs; None where the steps stay together."""
    if verdict is None or verdict.form[2]:
        return None
    size = verdict.graph.size
    # Of a single row that says little: the passes' own runs do.
    if size > 1 and not verdict.keeps_rows_apart:
        return None
    tensors = [a for a in arguments if isinstance(a, Tensor) and a.dim()]
    if any(len(t) != size for t in tensors):  # Captum repeats them for each step
        return None
    sizes = known.get(verdict)
    if sizes is None:
        sizes = known[verdict] = Sizes(bytes_of(verdict.graph.nodes) // size)
    return sizes


def bytes_of(nodes: Sequence[Node]) -> int:
    """The bytes of what nodes of a run computed: about what autograd holds, and the largest twice more."""
    found = [0]
    for node in nodes:
        if is_operation(node.target) and not operation_of(node.target).shows:
            found += [form.numel() * form.element_size() for form in sized_in(node.value)]
    return max(1, sum(found) + 2 * max(found))
