"""What importing the package adds to importing Captum."""

from __future__ import annotations

import subprocess
import sys

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
