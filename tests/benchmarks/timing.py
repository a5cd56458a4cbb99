"""Timing by ratio: several functions in turn, in one process, the median of each round's ratio.

A machine that is busy or changes its clock slows neighbours of a round alike; the ratio stays.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch

from captum_xdnn.compare.measuring import in_turn, now

Function = Callable[[], object]
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Timings:
    """Seconds of each function in each round."""

    rounds: dict[str, list[float]]

    def ratio(self, name: str, to: str) -> float:
        """Median over the rounds of the ratio of two functions' times."""
        pairs = zip(self.rounds[name], self.rounds[to], strict=True)
        return statistics.median(a / b for a, b in pairs)

    def excess(self, name: str, over: str) -> float:
        """Median over the rounds of the difference of two functions' times, in seconds."""
        pairs = zip(self.rounds[name], self.rounds[over], strict=True)
        return statistics.median(a - b for a, b in pairs)

    def median(self, name: str) -> float:
        """Median seconds of one function."""
        return statistics.median(self.rounds[name])


def interleaved(
    functions: dict[str, Function], rounds: int, calls: int = 1, device: torch.device = CPU
) -> Timings:
    """Time functions in turn.

    Args:
        functions: What to time, by name; each is called once first, uncounted.
        rounds: How many times all are timed.
        calls: How many calls make one measurement, for functions of microseconds.
        device: Where they run; waited for at the end of each measurement.
    """
    for function in functions.values():
        function()

    def seconds(function: Function) -> float:
        start = now(device)
        for _ in range(calls):
            function()
        return (now(device) - start) / calls

    gc.collect()
    gc.disable()
    try:
        return Timings(in_turn(functions, rounds, seconds))
    finally:
        gc.enable()
