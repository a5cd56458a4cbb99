"""Which source lines an operation was called from, for reports.

Torch's tracer keeps only the lines of functions called ``forward``, so that an operation in a
helper, a lambda or a ``_forward_impl`` would be placed on the line that called it, or nowhere.
"""

from __future__ import annotations

import os
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.fx.proxy import TracerBase

from captum_xdnn.homogeneity import replica

if TYPE_CHECKING:
    from collections.abc import Iterator

_TORCH = f"{Path(torch.__file__).parent}{os.sep}"
_FILTER = "_filter_traceback_frames"


@contextmanager
def every_source_line() -> Iterator[None]:
    """Let the tracer keep every line outside torch; where a release has no such filter, as it does.

    Stacks that do not come from here are filtered as ever.
    """
    filtered: Any = getattr(TracerBase, _FILTER, None)
    if filtered is None:
        yield
        return

    def outside_torch(self: TracerBase, stack: traceback.StackSummary) -> Any:
        roots = [i for i, frame in enumerate(stack) if frame.filename == replica.__file__]
        if not roots:
            return filtered(self, stack)
        called = stack[roots[-1] + 1 :]
        own = [frame for frame in called if not frame.filename.startswith(_TORCH)]
        return traceback.StackSummary.from_list(own)

    setattr(TracerBase, _FILTER, outside_torch)
    try:
        yield
    finally:
        setattr(TracerBase, _FILTER, filtered)
