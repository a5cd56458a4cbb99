"""The quick reading of a fingerprint: the memory addresses of all that a function holds.

Equal lists of addresses mean that nothing was rebound, as long as everything that was seen is
still alive: ``Fingerprint`` keeps plain values and tensors, and watches the deaths of the rest.
What cannot be read this way (containers in containers, functions that hold further state) is
left to the full reading.
"""

from __future__ import annotations

import types
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as module_globals

_LEAVES = frozenset((int, float, complex, bool, str, bytes, type(None)))
_FUNCTIONS = frozenset((types.FunctionType, types.MethodType))
_CONTAINERS = frozenset((dict, OrderedDict, list, set))
_OPENED = _CONTAINERS | _FUNCTIONS
_HOOKS = tuple(
    getattr(module_globals, name)
    for name in (
        "_global_forward_hooks",
        "_global_forward_pre_hooks",
        "_global_backward_hooks",
        "_global_backward_pre_hooks",
    )
    if hasattr(module_globals, name)
)


class _Unreadable(Exception):  # noqa: N818 - control flow inside this room, never shown
    pass


def addresses(function: Callable[..., Any]) -> list[int] | None:
    """Addresses of everything that decides what a function computes; None if unreadable."""
    found = [len(hooks) for hooks in _HOOKS]
    try:
        if isinstance(function, nn.Module):
            _read_module(function, found)
        elif type(function) is types.FunctionType:
            _read_function(function, found)
        elif type(function) is types.MethodType and isinstance(function.__self__, nn.Module):
            found.append(id(function.__func__))
            _read_module(function.__self__, found)
        else:
            return None
    except _Unreadable:
        return None
    return found


def _read_module(module: nn.Module, found: list[int]) -> None:
    held = module.__dict__
    found.extend(map(id, held.values()))
    for value in held.values():
        if value.__class__ in _OPENED and value:
            if value.__class__ in _FUNCTIONS:
                raise _Unreadable
            _read_container(value, found)
    for child in held["_modules"].values():
        if child is not None:
            _read_module(child, found)


def _read_container(value: Any, found: list[int]) -> None:
    if isinstance(value, dict):
        found.extend(map(id, value))
        value = value.values()
    found.append(len(value))
    for item in value:
        found.append(id(item))
        if item.__class__ not in _LEAVES and not isinstance(item, Tensor | nn.Module):
            raise _Unreadable


def _read_function(function: types.FunctionType, found: list[int]) -> None:
    found.append(id(function.__code__))
    scope = function.__globals__
    held = [scope.get(name) for name in function.__code__.co_names]
    held += function.__defaults__ or ()
    if function.__kwdefaults__:
        raise _Unreadable
    try:
        held += [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError as error:  # a variable that is not bound yet
        raise _Unreadable from error
    for value in held:
        found.append(id(value))
        if isinstance(value, nn.Module):
            _read_module(value, found)
        elif value.__class__ not in _LEAVES and not isinstance(
            value, Tensor | types.ModuleType | type | types.BuiltinFunctionType
        ):
            raise _Unreadable
