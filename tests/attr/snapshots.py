"""Everything that a call could change, taken down so that two moments can be compared."""

from __future__ import annotations

import logging
import random
import sys
import warnings
from typing import Any

import numpy as np
import sympy  # noqa: F401 - tracing imports it, and its import adds a filter of warnings
import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_globals


def of_tensor(tensor: Tensor) -> Any:
    return (
        tensor.detach().clone().numpy().tobytes(),
        tensor._version,
        tensor.requires_grad,
        tensor.is_leaf,
        tensor.grad is None,
        None if tensor.grad is None else tensor.grad.clone().numpy().tobytes(),
        len(tensor._backward_hooks or ()),
        tensor.stride(),
    )


def of_module(net: nn.Module) -> Any:
    return [
        (
            name,
            part.training,
            {key: of_tensor(held) for key, held in part._parameters.items() if held is not None},
            {key: of_tensor(held) for key, held in part._buffers.items() if held is not None},
            {key: len(held) for key, held in vars(part).items() if key.endswith("hooks")},
            sorted(vars(part)),
        )
        for name, part in net.named_modules()
    ]


def of_process() -> Any:
    return {
        "torch rng": torch.get_rng_state().numpy().tobytes(),
        "python rng": random.getstate(),
        "numpy rng": np.random.get_state()[1].tobytes(),
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "anomaly mode": torch.is_anomaly_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "autocast cache": torch.is_autocast_cache_enabled(),
        "default dtype": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
        "exporting": torch.compiler.is_exporting(),
        "global hooks": len(module_globals._global_forward_hooks),
        "streams": (sys.stdout, sys.stderr),
        "warnings": (list(warnings.filters), warnings.showwarning),
        "log filters": [
            (handler, list(handler.filters))
            for logger in (logging.getLogger(), logging.getLogger("torch"))
            for handler in logger.handlers
        ],
        "functions": (nn.functional.relu, torch.relu, nn.Module.__call__, Tensor.add),
    }


def everything(net: nn.Module, *tensors: Tensor) -> Any:
    return of_module(net), [of_tensor(t) for t in tensors], of_process()


def differing(before: Any, after: Any, path: str = "") -> list[str]:
    """Where two snapshots differ, in words."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*before, *(key for key in after if key not in before)]
        pairs = [(f"{path}.{key}", before.get(key), after.get(key)) for key in keys]
    elif isinstance(before, list | tuple) and len(before) == len(after):
        triples = zip(range(len(before)), before, after, strict=True)
        pairs = [(f"{path}[{index}]", *pair) for index, *pair in triples]
    else:
        return [] if before == after else [f"{path}: {before!r:.60} -> {after!r:.60}"]
    return [found for place, *pair in pairs for found in differing(*pair, place)]
