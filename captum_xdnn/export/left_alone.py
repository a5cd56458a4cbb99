"""What the user's code holds, as it was before an export: also where that fails.

An export runs the user's function a few times more than a call, with tensors that are none of
the user's. What modules keep is put back as after every watched run; beside it what code reaches by
name: containers in globals, closures and defaults, and globals that it binds.
"""

from __future__ import annotations

import dis
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import CodeType, FunctionType, MethodType
from typing import Any

from torch import nn

from captum_xdnn._torch import HOOKS
from captum_xdnn.recording.places import modules_of, namespace_of
from captum_xdnn.recording.state import Noted

_CONTAINERS = (dict, list, set, deque)
_READ = 1000
"""So many functions are read at most."""
_ABSENT = object()


@contextmanager
def left_alone(function: Callable[..., Any], *arguments: Any) -> Iterator[None]:
    """Put back, when the block ends or fails, what the runs in it have changed of the user's."""
    containers, scopes = _held_by_code(function)
    bound = [(s, n, s.get(n, _ABSENT)) for s, names in scopes for n in names]
    noted = Noted(function, dice=True, arguments=(*arguments, *containers))
    try:
        yield
    finally:
        noted.put_back()
        for scope, name, value in bound:
            if value is _ABSENT:
                scope.pop(name, None)
            elif scope.get(name) is not value:
                scope[name] = value


def _held_by_code(function: Any) -> tuple[list[Any], list[tuple[dict[str, Any], set[str]]]]:
    """Containers that the code of a function and its modules reaches by name, and the globals it binds."""
    stack: list[Any] = [function]
    for _, module in modules_of(function):
        stack += [f for c in type(module).__mro__ if c.__module__ != nn.Module.__module__
                  for f in _functions_in(c.__dict__)]
        space = namespace_of(module)
        stack += [f for hooks in HOOKS for f in (space.get(hooks) or {}).values()]
    found: list[Any] = []
    scopes: list[tuple[dict[str, Any], set[str]]] = []
    read: set[int] = set()
    while stack and len(read) < _READ:
        value = stack.pop()
        if isinstance(value, _CONTAINERS):
            if all(value is not held for held in found):
                found.append(value)
            continue
        if type(value) is MethodType:
            stack += [value.__func__]
            continue
        if type(value) is not FunctionType:
            inner = getattr(value, "__wrapped__", None)  # of functools.lru_cache, and the like
            if type(inner) is FunctionType:
                stack.append(inner)
            continue
        if id(value) in read or _is_torchs(value):
            continue
        read.add(id(value))
        stack.append(value.__dict__.get("__wrapped__"))
        for cell in value.__closure__ or ():
            with suppress(ValueError):  # not bound yet
                stack.append(cell.cell_contents)
        stack += [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        scope = value.__globals__
        for code in _codes_of(value.__code__):
            stack += [scope[n] for n in code.co_names if n in scope]
            stores = {i.argval for i in dis.get_instructions(code) if i.opname == "STORE_GLOBAL"}
            if stores:
                scopes.append((scope, stores))
    return found, scopes


def _functions_in(space: Any) -> Iterator[Any]:
    for value in list(space.values()):
        if isinstance(value, FunctionType | staticmethod | classmethod):
            yield getattr(value, "__func__", value)


def _is_torchs(function: FunctionType) -> bool:
    return str(function.__module__).partition(".")[0] in ("torch", "torchvision", "captum")


def _codes_of(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if type(const) is CodeType:
            yield from _codes_of(const)
