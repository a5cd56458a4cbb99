"""What the user's code holds, as it was before an export: also where that fails.

An export runs the user's function a few times more than a call, with tensors that are none of
the user's. What modules keep is put back as after every watched run; beside it what code reaches by
name: containers in globals, closures and defaults, and globals that it binds; and what tensors held
that are no parameters, which another thread may be training.
"""

from __future__ import annotations

import dis
import inspect
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from captum_xdnn._torch import HOOKS
from captum_xdnn.recording.places import codes_of, modules_of, namespace_of
from captum_xdnn.recording.random_state import torchs_dice
from captum_xdnn.recording.state import Noted, put_back_tensors
from captum_xdnn.recording.tensors import is_hollow, saved_of

_CONTAINERS = (dict, list, set, deque)
_READ = 1000
"""So many functions are read at most."""
_ABSENT = object()


@contextmanager
def left_alone(function: Callable[..., Any], *arguments: Any) -> Iterator[None]:
    """Put back, when the block ends or fails, what the runs in it have changed of the user's."""
    containers, scopes = _held_by_code(function)
    bound = [(s, n, s.get(n, _ABSENT)) for s, names in scopes for n in names]
    noted = Noted(function, (*arguments, *containers))
    given = [a for a in arguments if isinstance(a, Tensor)]
    tensors = {id(t): t for t in (*given, *noted.tensors()) if _is_copied(t)}.values()
    kept = [saved_of(t) for t in tensors]
    rolled = torchs_dice()
    try:
        yield
    finally:
        for dice in rolled:
            dice.write(dice.before)
        noted.put_back()
        put_back_tensors(k for k in kept if not torch.equal(k.tensor.detach(), k.content))
        for scope, name, value in bound:
            if value is _ABSENT:
                scope.pop(name, None)
            elif scope.get(name) is not value:
                scope[name] = value


def _is_copied(tensor: Tensor) -> bool:
    plain = tensor.layout is torch.strided and not tensor.is_quantized and not is_hollow(tensor)
    return plain and not isinstance(tensor, nn.Parameter)


Scope = tuple[dict[str, Any], set[str]]


def _held_by_code(function: Any) -> tuple[list[Any], list[Scope]]:
    """Containers that the code of a function and its modules reaches by name, and the globals it binds."""
    stack: list[Any] = [function]
    for _, module in modules_of(function):
        kinds = (c for c in type(module).__mro__ if c.__module__ != nn.Module.__module__)
        stack += [f for kind in kinds for f in _functions_in(kind.__dict__)]
        space = namespace_of(module)
        tables = (t for t in map(space.get, HOOKS) if isinstance(t, dict))  # one is a flag
        stack += [f for hooks in tables for f in hooks.values()]
    found: dict[int, Any] = {}
    scopes: list[Scope] = []
    read: set[int] = set()
    while stack and len(read) < _READ:
        value = stack.pop()
        if isinstance(value, _CONTAINERS):
            found[id(value)] = value
            continue
        value = value.__func__ if type(value) is MethodType else value
        if type(value) is not FunctionType:  # of functools.lru_cache, and the like
            value = inspect.getattr_static(value, "__wrapped__", None)
        if type(value) is FunctionType and id(value) not in read and not _is_torchs(value):
            read.add(id(value))
            stack += _named_by(value)
            scopes += _bound_by(value)
    return list(found.values()), scopes


def _named_by(function: FunctionType) -> list[Any]:
    """What a function holds, and what its code names."""
    held = [function.__dict__.get("__wrapped__")]
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # not bound yet
            held.append(cell.cell_contents)
    held += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    scope = function.__globals__
    for code in codes_of(function.__code__):
        held += [scope[n] for n in code.co_names if n in scope]
    return held


def _bound_by(function: FunctionType) -> Iterator[Scope]:
    """The globals that a function's code binds."""
    for code in codes_of(function.__code__):
        stores = {i.argval for i in dis.get_instructions(code) if i.opname == "STORE_GLOBAL"}
        if stores:
            yield function.__globals__, stores


def _functions_in(space: Any) -> Iterator[Any]:
    for value in list(space.values()):
        if isinstance(value, FunctionType | staticmethod | classmethod):
            yield getattr(value, "__func__", value)


def _is_torchs(function: FunctionType) -> bool:
    return str(function.__module__).partition(".")[0] in ("torch", "torchvision", "captum")
