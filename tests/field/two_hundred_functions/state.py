"""All that a call could change or leave, taken down so that two moments can be compared."""

from __future__ import annotations

import functools
import gc
import logging
import random
import sys
import types
import warnings
import weakref
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import sympy  # noqa: F401 - torch imports it when it is first needed, and it adds a filter of warnings
import torch
import torch.utils._python_dispatch as dispatch
from torch import Tensor, nn
from torch.nn.modules import module as every_module

PLAIN = (int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device, torch.Size)
LIBRARIES = ("torch.nn.modules", "torch.nn.functional")


def state_of(*objects: Any) -> dict[str, Any]:
    """What hangs at some objects, by the way that leads there; plain values, so nothing is held."""
    found: dict[str, Any] = {}
    met: dict[int, str] = {}
    for index, each in enumerate(objects):
        _walk(each, f"{index}", found, met)
    return found


def _walk(value: Any, path: str, found: dict[str, Any], met: dict[int, str]) -> None:
    if isinstance(value, PLAIN):
        found[path] = repr(value)
        return
    if id(value) in met:
        found[path] = f"is {met[id(value)]}"
        return
    met[id(value)] = path
    found[path] = type(value).__name__
    if isinstance(value, Tensor):
        found[path] = _of_tensor(value)
        if value.is_leaf and value.grad is not None:
            _walk(value.grad, f"{path}.grad", found, met)
        return
    for name, part in _parts(value):
        _walk(part, f"{path}.{name}", found, met)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        # The keys of hooks are numbers that the process counts on.
        names = range(len(value)) if all(type(k) is int for k in value) else map(_name, value)
        yield from ((f"{{{name}}}", part) for name, part in zip(names, value.values(), strict=True))
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((str(i), part) for i, part in enumerate(value))
    elif isinstance(value, functools.partial):
        yield from (("func", value.func), ("args", value.args), ("keywords", value.keywords))
    elif isinstance(value, types.MethodType):
        yield "self", value.__self__
    elif isinstance(value, types.FunctionType):
        if value.__module__ not in LIBRARIES:
            cells = value.__closure__ or ()
            yield from ((f"cell {i}", c.cell_contents) for i, c in enumerate(cells) if _full(c))
            yield from (("defaults", value.__defaults__), ("dict", value.__dict__))
    elif isinstance(value, type | types.ModuleType | types.BuiltinFunctionType | np.ndarray):
        return
    elif hasattr(value, "__dict__"):
        yield "dict", vars(value)


def _name(key: Any) -> str:
    return repr(key) if isinstance(key, (*PLAIN, tuple)) else type(key).__name__


def _full(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # a variable that is not set yet
        return False


def _of_tensor(tensor: Tensor) -> Any:
    facts = [
        tuple(tensor.shape), str(tensor.dtype), str(tensor.layout), tensor.requires_grad,
        tensor.is_leaf, tensor.grad_fn is None, len(tensor._backward_hooks or ()),
    ]  # fmt: skip
    if tensor.layout is torch.strided and not tensor.is_meta:
        plain = tensor.detach().resolve_conj().cpu().contiguous()
        facts += [tensor.stride(), zlib.crc32(plain.view(-1).view(torch.uint8).numpy())]
    return tuple(facts)


def of_process() -> dict[str, Any]:
    """Dice, modes, flags, hooks and filters that the whole process has."""
    state = np.random.get_state()
    return {
        "torch's dice": zlib.crc32(torch.get_rng_state().numpy()),
        "python's dice": hash(random.getstate()),
        "numpy's dice": (state[1].tobytes(), state[2]),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "anomaly": torch.is_anomaly_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), str(torch.get_autocast_dtype("cpu"))),
        "autocast cache": torch.is_autocast_cache_enabled(),
        "default dtype": str(torch.get_default_dtype()),
        "default device": str(torch.get_default_device()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul": torch.get_float32_matmul_precision(),
        "mkldnn": torch.backends.mkldnn.enabled,
        "attention": (
            torch.backends.cuda.flash_sdp_enabled(),
            torch.backends.cuda.math_sdp_enabled(),
            torch.backends.mha.get_fastpath_enabled(),
        ),
        "threads": torch.get_num_threads(),
        "function modes": torch.overrides._len_torch_function_stack(),
        "dispatch modes": len(dispatch._get_current_dispatch_mode_stack()),
        "hooks of all modules": [
            len(getattr(every_module, name))
            for name in sorted(vars(every_module))
            if name.startswith("_global_") and hasattr(getattr(every_module, name), "__len__")
        ],
        "streams": (id(sys.stdout), id(sys.stderr), id(sys.excepthook), sys.gettrace() is None),
        "warnings": (len(warnings.filters), id(warnings.showwarning)),
        "loggers": (logging.root.level, len(logging.root.handlers), len(logging.root.filters)),
        "functions": tuple(map(id, (nn.functional.relu, torch.relu, nn.Module.__call__))),
    }


def differing(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Where two states differ, in words."""
    names = [*before, *(name for name in after if name not in before)]
    return [
        f"{name}: {str(before.get(name, 'nothing'))[:60]} -> {str(after.get(name, 'nothing'))[:60]}"
        for name in names
        if before.get(name) != after.get(name)
    ]


def references(*objects: Any) -> list[tuple[str, Any]]:
    """Weak references to functions, modules and tensors, with a word for each."""
    found: list[tuple[str, Any]] = []
    for each in objects:
        parts = [each]
        if isinstance(each, nn.Module):
            parts += [*each.modules(), *each.parameters(), *each.buffers()]
        # Numbers, tuples and methods cannot be referred to so.
        found += [(type(p).__name__, weakref.ref(p)) for p in parts if type(p).__weakrefoffset__]
    return found


def live_tensors() -> int:
    """How many tensors and modules there are in the process."""
    gc.collect()
    return sum(1 for each in gc.get_objects() if issubclass(type(each), Tensor | nn.Module))
