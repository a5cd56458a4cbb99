"""Timing in turn."""

from __future__ import annotations

import time

import pytest
import torch

from captum_xdnn.compare.measuring import in_turn, seconds_of

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
    assert found["short"] < 0.001
    assert found["long"] == pytest.approx(0.06, rel=0.5)
