"""Peak memory of a call, from the allocator's own events."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile


def peak_bytes(function: Callable[[], object]) -> int:
    """The largest sum of live bytes that a call allocates on the CPU above what was there before."""
    function()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    results = profiler.profiler.kineto_results
    events = [e for e in results.events() if e.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        if event.device_type() == torch.profiler.DeviceType.CPU:
            live += event.nbytes()
            peak = max(peak, live)
    if not peak:
        message = "the profiler saw no allocation"
        raise RuntimeError(message)
    return peak
