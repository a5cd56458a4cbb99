"""Copies of networks, lazy ones included."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn
from torch.nn.parameter import UninitializedBuffer


def copied(model: nn.Module) -> nn.Module:
    """A deep copy of a network.

    Raises:
        RuntimeError: If something in it cannot be copied, as weights that are computed in hooks.
    """
    # torch can copy lazy parameters, but no lazy buffers.
    fresh: Any = UninitializedBuffer
    lazy = {
        id(buffer): fresh(device=buffer.device, dtype=buffer.dtype)
        for buffer in model.buffers()
        if isinstance(buffer, UninitializedBuffer)
    }
    try:
        return copy.deepcopy(model, lazy)
    except (RuntimeError, TypeError) as error:
        message = (
            f"the model cannot be copied ({error}); pass inplace=True, or use "
            "torch.nn.utils.parametrizations in place of what computes its weights in hooks"
        )
        raise RuntimeError(message) from error
