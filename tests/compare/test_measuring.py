"""Timing in turn."""

from __future__ import annotations

import gc
import statistics
import time

import pytest
import torch

from captum_xdnn.compare.measuring import in_turn, peak_bytes, seconds_of

CPU = torch.device("cpu")


def test_every_other_round_goes_backwards() -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}

    def measure(call: object) -> float:
        call()  # type: ignore[operator]
        return float(len(order))

    found = in_turn(calls, 3, measure)
    assert "".join(order) == "cba" + "abc" + "cba"
    assert found == {"a": [3, 4, 9], "b": [2, 5, 8], "c": [1, 6, 7]}


def test_the_median_of_a_call() -> None:
    found = seconds_of({"short": lambda: None, "long": lambda: time.sleep(0.06)}, 3, CPU)
    assert {name: len(taken) for name, taken in found.items()} == {"short": 3, "long": 3}
    assert statistics.median(found["short"]) < 0.001
    assert statistics.median(found["long"]) == pytest.approx(0.06, rel=0.5)


def test_what_one_call_left_is_not_given_back_by_the_next() -> None:
    """A cycle with a tensor in it is freed whenever Python collects: in the midst of the next call too."""

    def leaves_a_cycle() -> None:
        cycle: list[object] = [torch.zeros(1000)]
        cycle.append(cycle)

    def collects() -> torch.Tensor:
        gc.collect()
        return torch.zeros(100)

    assert peak_bytes(leaves_a_cycle, CPU) == 4000
    assert peak_bytes(collects, CPU) == 400
