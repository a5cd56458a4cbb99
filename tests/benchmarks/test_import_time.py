"""What importing the package adds to importing Captum."""

from __future__ import annotations

import statistics
import subprocess
import sys

import pytest

from .report import Report
from .timing import interleaved


def _importing(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)


def test_import(report: Report) -> None:
    timings = interleaved(
        {
            "ours": lambda: _importing("captum_xdnn"),
            "captum": lambda: _importing("captum.attr"),
        },
        rounds=11,
    )
    ratio = timings.ratio("ours", "captum")
    report.add(
        "Import",
        "`import captum_xdnn` over `import captum.attr`, whole processes",
        f"{ratio:.3f}x",
        "<= 1.15x",
        held=ratio <= 1.15,
    )
    assert ratio <= 1.15


FIRST = """
import time, torch, captum.attr, captum_xdnn
from torch import nn

torch.set_num_threads(1)
net = nn.Sequential(nn.Linear(100, 128, bias={bias}), nn.ReLU(), nn.Linear(128, 10, bias={bias}))
method, inputs = {method}(net), torch.randn(8, 100)
start = time.process_time()
method.attribute(inputs, target=3)
print(time.process_time() - start)
"""
METHODS = ("captum_xdnn.XIntegratedGradients", "captum.attr.IntegratedGradients")


@pytest.mark.parametrize(("bias", "room"), [(False, 0.0), (True, 0.3)])
def test_a_first_call_with_all_that_it_imports(bias: bool, room: float, report: Report) -> None:
    """Without torchvision, which has imported the same already."""
    seconds: dict[str, list[float]] = {method: [] for method in METHODS}
    for _ in range(9):
        for method, found in seconds.items():
            code = FIRST.format(bias=bias, method=method)
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True
            )
            found.append(float(done.stdout))
    ours, captums = (statistics.median(found) for found in seconds.values())
    bound = 1.1 * captums + room if room else captums
    report.add(
        "Import",
        f"first call of an MLP {'with' if bias else 'without'} biases, batch 8, with what it imports",
        f"{1e3 * ours:.0f} ms, Captum's {1e3 * captums:.0f} ms",
        "<= 1.1x + 0.3 s" if room else "<= 1x",
        held=ours <= bound,
    )
    assert ours <= bound
