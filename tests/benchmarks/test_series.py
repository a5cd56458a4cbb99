"""First calls and series of them, each in a fresh process: all that a user waits for, but imports."""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from .programs import FIRST, NEEDS, PROVED, SERIES
from .report import Report

CALLS = "First call in a fresh process, over Captum's at 50 steps"
ROOT = Path(__file__).parents[2]
ROUNDS = 3


def seconds(name: str, kind: str) -> float:
    command = [sys.executable, "-m", "tests.benchmarks.programs", name, kind]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: float = json.loads(run.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", [*FIRST, *PROVED, *SERIES])
def test_what_a_user_waits_for(name: str, report: Report, device: torch.device) -> None:
    if device.type != "cpu":
        pytest.skip("time of the processor")
    needed = NEEDS.get(name)
    if needed is not None and importlib.util.find_spec(needed) is None:
        pytest.skip(f"needs {needed}")
    rounds = [(seconds(name, "captum"), seconds(name, "ours")) for _ in range(ROUNDS)]
    theirs, ours = (statistics.median(r[i] for r in rounds) for i in (0, 1))
    if name in PROVED:
        factor, more = 1.0, 0.0
    else:
        factor, more = 1.1, 0.5 if name in SERIES else 0.3
    held = ours <= factor * theirs + more
    bound = f"<= {factor:g}x + {more:g} s" if more else "<= 1x"
    report.add(
        CALLS if name not in SERIES else "Series of first calls, over Captum's",
        name,
        f"{ours / theirs:.2f}x ({ours:.2f} s, Captum's {theirs:.2f} s)",
        bound,
        held=held,
    )
    assert held
