"""Peak memory of a call, from the allocator's own books."""

from __future__ import annotations

from collections.abc import Callable

import torch

from captum_xdnn.compare import measuring


def peak_bytes(function: Callable[[], object], device: torch.device) -> int:
    """The most that a second call holds at once on its device, above what was there before."""
    function()
    peak = measuring.peak_bytes(function, device)
    if not peak:
        message = "no allocation was seen"
        raise RuntimeError(message)
    return peak
