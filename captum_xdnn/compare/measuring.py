"""What a call costs: seconds, passes through the network, memory."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch.profiler import ProfilerActivity, profile

SHORTEST_ROUND = 0.05
"""Seconds: a call of milliseconds is timed many times, one alone measures the scheduler."""
Call = Callable[[], object]


def seconds_of(calls: Sequence[Call], rounds: int, device: torch.device) -> list[float]:
    """The median time of each call, all of them in turn.

    So what else the machine does in the meantime slows all alike. Each has to have been called
    before.

    Args:
        calls: What is timed.
        rounds: How often each is timed.
        device: Where they run; waited for before and after each call.
    """
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, taken in zip(calls, times, strict=True):
            taken += _round(call, device)
    return [statistics.median(taken) for taken in times]


def _round(call: Call, device: torch.device) -> list[float]:
    taken: list[float] = []
    start = end = now(device)
    while end - start < SHORTEST_ROUND:
        before = end
        call()
        end = now(device)
        taken.append(end - before)
    return taken


def now(device: torch.device) -> float:
    """Seconds of a clock, read when everything that was asked of a device is done.

    Args:
        device: Waited for.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def peak_bytes(call: Call, device: torch.device) -> int:
    """The most memory that a call holds at once, above what was there before.

    Args:
        call: It is called once.
        device: Where it runs.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device)) - before
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
