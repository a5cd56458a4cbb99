"""Where an operation was called from: the user's source line, and the module that ran."""

from __future__ import annotations

import functools
import linecache
import os
import sys
import sysconfig
import types
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

_PACKAGE = Path(__file__).parent.parent
_OWN = tuple(
    f"{place}{os.sep}"
    for place in (
        Path(torch.__file__).parent,
        *(_PACKAGE / name for name in ("attr", "homogeneity", "recording")),
    )
)
_LIBRARY = f"{sysconfig.get_path('stdlib')}{os.sep}"
_SITE = f"{sysconfig.get_path('purelib')}{os.sep}"
_CALL = nn.Module._call_impl.__code__
_FOREIGN: dict[str, bool] = {}


class Place(NamedTuple):
    """Where an operation was called from.

    Attributes:
        file: The user's file; empty if none was on the way.
        line: The line in it.
        module: The innermost module that ran; None outside of modules.
        root: The outermost module that ran.
    """

    file: str
    line: int
    module: nn.Module | None
    root: nn.Module | None

    def location(self) -> str:
        """``file:line: code``; empty where no line of the user's is known."""
        if not self.file:
            return ""
        code = linecache.getline(self.file, self.line).strip()
        return f"{self.file}:{self.line}: {code}"


def here() -> Place:
    """The place of the operation that is being noted."""
    frame: types.FrameType | None = sys._getframe(1)
    file, line = "", 0
    module: Any = None
    root: Any = None
    while frame is not None:
        code = frame.f_code
        if code is _CALL:
            # Only these frames: a frame's dictionary of locals would keep the user's tensors.
            root = frame.f_locals.get("self")
            if module is None:
                module = root
        elif code is WATCHED:
            break
        elif not file and not _is_foreign(code.co_filename):
            file, line = code.co_filename, frame.f_lineno
        frame = frame.f_back
    return Place(file, line, module, root)


def _is_foreign(filename: str) -> bool:
    known = _FOREIGN.get(filename)
    if known is None:
        library = filename.startswith(_LIBRARY) and not filename.startswith(_SITE)
        known = library or filename.startswith((*_OWN, "<frozen"))
        _FOREIGN[filename] = known
    return known


def watched(function: Any, *args: Any) -> Any:
    """Call a function; what is above this frame is not the user's."""
    return function(*args)


WATCHED = watched.__code__


class Names:
    """The paths of modules, as a person finds them from the function that was called."""

    def __init__(self, function: Any) -> None:
        self._paths: dict[int, str] = {}
        for prefix, root in roots_of(function):
            for path, module in root.named_modules():
                whole = f"{prefix}.{path}".strip(".") if path else prefix
                self._paths.setdefault(id(module), whole)

    def of(self, place: Place | None) -> tuple[str, str]:
        """Path and class of the module at a place; empty outside of modules."""
        if place is None or place.module is None:
            return "", ""
        kind = type(place.module).__name__
        path = self._paths.get(id(place.module))
        if path is None and place.root is not None:
            path = next((p for p, m in place.root.named_modules() if m is place.module), "")
        return path or "", kind

    def tensors(self, function: Any) -> dict[int, str]:
        """By address, the names of the parameters and buffers of the function's modules."""
        found: dict[int, str] = {}
        for prefix, root in roots_of(function):
            for name, tensor in (*root.named_parameters(), *root.named_buffers()):
                found.setdefault(id(tensor), f"{prefix}.{name}".strip("."))
        return found


def roots_of(function: Any) -> Iterator[tuple[str, nn.Module]]:
    """The modules that a function is made of, with the names by which it knows them."""
    yield from _roots_of(function, "", set())


def _roots_of(value: Any, name: str, seen: set[int]) -> Iterator[tuple[str, nn.Module]]:
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, nn.Module):
        inner = _wrapped(value)
        if inner is not None:
            yield name, inner
        yield name, value
    elif hasattr(value, "base") and hasattr(value, "layers"):  # made of another function
        yield from _roots_of(value.base, name, seen)
    elif isinstance(value, types.MethodType):
        yield from _roots_of(value.__self__, name, seen)
    elif isinstance(value, functools.partial):
        yield from _roots_of(value.func, name, seen)
        named = {f"arg{index}": held for index, held in enumerate(value.args)}
        yield from _all_held({**named, **value.keywords}, seen)
    elif isinstance(value, types.FunctionType):
        yield from _of_function(value, name, seen)
    elif callable(value) and isinstance(getattr(value, "__dict__", None), dict):
        yield from _all_held(dict(vars(value)), seen)


def _wrapped(module: nn.Module) -> nn.Module | None:
    """The module inside of a wrapper that computes the same."""
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner: Any = module.module
    else:
        inner = getattr(module, "_orig_mod", None)
    return inner if isinstance(inner, nn.Module) else None


def _of_function(
    function: types.FunctionType, name: str, seen: set[int]
) -> Iterator[tuple[str, nn.Module]]:
    compiled = getattr(function, "_torchdynamo_orig_callable", None)
    if compiled is not None:
        yield from _roots_of(compiled, name, seen)
        return
    code = function.__code__
    held: dict[str, Any] = {}
    for free, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # not bound yet
            held[free] = cell.cell_contents
    defaults = function.__defaults__ or ()
    names = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
    held.update(zip(names, defaults, strict=True))
    held.update(function.__kwdefaults__ or {})
    scope = function.__globals__
    held.update({n: scope[n] for n in code.co_names if n in scope})
    yield from _all_held(held, seen)


def _all_held(held: dict[str, Any], seen: set[int]) -> Iterator[tuple[str, nn.Module]]:
    """What a function holds: modules, their methods, and functions over them."""
    for name, value in held.items():
        method = isinstance(value, types.MethodType) and isinstance(value.__self__, nn.Module)
        closure = isinstance(value, types.FunctionType) and value.__closure__
        if isinstance(value, nn.Module) or method or closure:
            yield from _roots_of(value, name, seen)
