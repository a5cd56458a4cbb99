"""Several processes of one group, for what runs distributed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import captum_xdnn

needs_gloo = pytest.mark.skipif(
    not torch.distributed.is_available() or sys.platform == "win32",
    reason="needs torch.distributed with gloo",
)


def run_together(source: str, size: int, folder: Path) -> None:
    """Run a script in processes that are told rank, size and store; each must say that it is done."""
    script = folder / "script.py"
    script.write_text(source)
    environment = {**os.environ, "PYTHONPATH": str(Path(captum_xdnn.__file__).parents[1])}
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", script, str(rank), str(size), folder / "store"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank in range(size)
    ]
    for rank, process in enumerate(processes):
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert out.split() == ["done", str(rank)]
