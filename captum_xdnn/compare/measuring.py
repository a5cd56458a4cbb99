"""What a call costs: seconds, floating-point operations, memory."""

import gc
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import flop_registry

from captum_xdnn._torch import TorchDispatchMode

SHORTEST_ROUND = 0.05
"""Seconds: a call of milliseconds is timed many times, one alone measures the scheduler."""
Call = Callable[[], object]


def in_turn(
    calls: Mapping[str, Call], rounds: int, measure: Callable[[Call], float]
) -> dict[str, list[float]]:
    """Measure several calls in turn, every other round in the opposite order.

    So what else the machine does meanwhile slows all alike, and none always follows the same one.
    """
    measured: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds):
        for name in list(calls)[:: 1 if turn % 2 else -1]:
            measured[name].append(measure(calls[name]))
    return measured


def seconds_of(
    calls: Mapping[str, Call],
    rounds: int,
    device: torch.device,
    after_each: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """The time of each call in each round, all of them in turn. Each has to have been called before."""

    def measure(call: Call) -> float:
        seconds = _seconds(call, device)
        after_each()
        return seconds

    return in_turn(calls, rounds, measure)


def _seconds(call: Call, device: torch.device) -> float:
    """The median of as many calls as fill a round."""
    taken: list[float] = []
    start = end = now(device)
    while end - start < SHORTEST_ROUND:
        before = end
        call()
        end = now(device)
        taken.append(end - before)
    return statistics.median(taken)


def now(device: torch.device) -> float:
    """Seconds of a clock, read when everything that was asked of a device is done."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


def count_flops(call: Call) -> int:
    """Add up the operations of the convolutions and matrix products that a call runs.

    ``FlopCounterMode`` of torch counts by the same formulas, but also follows modules by hooks in
    the autograd graph, and those refuse the way in which Captum asks for gradients.
    """
    counter = _FlopCounter()  # type: ignore[no-untyped-call]
    with counter:
        call()
    return counter.flops


class _FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        return result


def peak_bytes(call: Call, device: torch.device) -> float:
    """The most bytes that a call holds at once, above what was there before.

    NaN on a device of which torch keeps no such books.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device)) - before
    if device.type != "cpu":
        return math.nan
    gc.collect()  # what an earlier measured call left would count as given back by this one
    with _quietly(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    results = profiler.profiler.kineto_results
    events = [event for event in results.events() if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        if event.device_type() == torch.profiler.DeviceType.CPU:
            live += event.nbytes()
            peak = max(peak, live)
    return peak


@contextmanager
def _quietly() -> Iterator[None]:
    """Nothing on the process's standard error meanwhile: the profiler's library writes lines there."""
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # there is none
        yield
        return
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - its number is wanted
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
