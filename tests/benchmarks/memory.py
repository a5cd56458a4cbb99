"""Peak memory of a call, from the allocator's own events."""

from __future__ import annotations

from collections.abc import Callable

import torch

from captum_xdnn.compare import measuring


def peak_bytes(function: Callable[[], object]) -> int:
    """The most that a second call holds at once on the CPU, above what was there before."""
    function()
    peak = measuring.peak_bytes(function, torch.device("cpu"))
    if not peak:
        message = "the profiler saw no allocation"
        raise RuntimeError(message)
    return peak
