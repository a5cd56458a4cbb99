"""Where an operation was called from: the user's source line, and the module that ran."""

import dis
import functools
import linecache
import os
import sys
import sysconfig
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from captum_xdnn._torch import MODULE_CALL, ORIGINAL_MODULE, compiled_from

_PACKAGE = Path(__file__).parent.parent
_ROOMS = ("attr", "checks", "proof", "recording", "routes")
_OWN = tuple(
    f"{place}{os.sep}" for place in (Path(torch.__file__).parent, *map(_PACKAGE.joinpath, _ROOMS))
)
_LIBRARY = f"{sysconfig.get_path('stdlib')}{os.sep}"
_SITE = f"{sysconfig.get_path('purelib')}{os.sep}"
_LOOKED_INTO = 100
"""So many entries of a list, tuple or dict that a function holds are looked at for modules."""
_READ = 500
"""So many pieces of code are read at most for the names that they use."""
_BINDING = ("STORE_ATTR", "DELETE_ATTR")
FORWARD_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_UNWRAPPED: dict[type, Callable[[Any], Any]] = {
    types.MethodType: lambda method: method.__func__,
    staticmethod: lambda method: method.__func__,
    classmethod: lambda method: method.__func__,
    property: lambda attribute: attribute.fget,
    functools.partial: lambda partial: partial.func,
}
"""From what stands for a function to the function."""


class Place(NamedTuple):
    """The user's line, if any is on the way; the innermost and the outermost module that ran."""

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


def here(above: types.CodeType) -> Place:
    """The place of the operation that is being noted; what is above a piece of code is not the user's."""
    frame: types.FrameType | None = sys._getframe(1)
    file, line = "", 0
    module: Any = None
    root: Any = None
    while frame is not None:
        code = frame.f_code
        if code is MODULE_CALL:
            # Only these frames: a frame's dictionary of locals would keep the user's tensors.
            root = frame.f_locals.get("self")
            if module is None:
                module = root
        elif code is above:
            break
        elif not file and not _is_foreign(code.co_filename):
            file, line = code.co_filename, frame.f_lineno
        frame = frame.f_back
    return Place(file, line, module, root)


@functools.cache
def _is_foreign(filename: str) -> bool:
    library = filename.startswith(_LIBRARY) and not filename.startswith(_SITE)
    return library or filename.startswith((*_OWN, "<frozen"))


class MadeOfAnother:
    """A function that is made of another one, which is its attribute ``base``."""

    base: Any


def namespace_of(value: Any) -> dict[str, Any]:
    """The attributes that an object has itself; the object is not asked, it may answer anything."""
    try:
        space = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return space if type(space) is dict else {}


def is_module(value: Any) -> bool:
    """Whether a value is a module: a stand-in (a mock) that says so is none, nor one not yet made."""
    return issubclass(type(value), nn.Module) and "_modules" in namespace_of(value)


class Names:
    """The paths of modules, as a person finds them from the function that was called."""

    def __init__(self, function: Any) -> None:
        self._paths = {id(module): path for path, module in modules_of(function)}

    def of(self, place: Place | None) -> tuple[str, str]:
        """Path and class of the module at a place; empty outside of modules."""
        if place is None or place.module is None:
            return "", ""
        kind = type(place.module).__name__
        path = self._paths.get(id(place.module))
        if path is None and place.root is not None:
            path = next((p for p, m in _named_modules(place.root) if m is place.module), "")
        return path or "", kind

    def tensors(self, function: Any) -> dict[int, str]:
        """By address, the names of the parameters and buffers of the function's modules."""
        found: dict[int, str] = {}
        for path, module in modules_of(function):
            space = namespace_of(module)
            held = (module.named_parameters(recurse=False), module.named_buffers(recurse=False))
            if "_parameters" in space:  # not of a script
                held = (space["_parameters"].items(), space["_buffers"].items())
            for name, tensor in chain(*held):
                found.setdefault(id(tensor), f"{path}.{name}" if path else name)
        return found


def modules_of(function: Any) -> Iterator[tuple[str, nn.Module]]:
    """The modules that a function is made of, each once, with their paths from it."""
    seen: set[int] = set()
    for prefix, root in roots_of(function):
        for path, module in _named_modules(root):
            if id(module) not in seen:
                seen.add(id(module))
                yield ".".join(filter(None, (prefix, path))), module


def roots_of(
    value: Any, name: str = "", seen: set[int] | None = None
) -> Iterator[tuple[str, nn.Module]]:
    """The modules that a function is made of, with the names by which it knows them."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    kind = type(value)
    if is_module(value):
        inner = _wrapped(value)
        if inner is not None:
            yield name, inner
        yield name, value
    elif issubclass(kind, MadeOfAnother):
        yield from roots_of(value.base, name, seen)
    elif kind is types.MethodType:
        yield from roots_of(value.__self__, name, seen)
    elif issubclass(kind, functools.partial):
        yield from roots_of(value.func, name, seen)
        named = {f"arg{index}": held for index, held in enumerate(value.args)}
        yield from _all_held({**named, **value.keywords}, seen)
    elif kind is types.FunctionType:
        yield from _of_function(value, name, seen)
    elif callable(value):
        yield from _all_held(namespace_of(value).copy(), seen)


def _wrapped(module: nn.Module) -> nn.Module | None:
    """The module inside of a wrapper that computes the same."""
    parallel = issubclass(type(module), nn.DataParallel | nn.parallel.DistributedDataParallel)
    modules = namespace_of(module)["_modules"]
    if type(modules) is not dict:
        return None  # a script's
    inner = modules.get("module" if parallel else ORIGINAL_MODULE)
    return inner if is_module(inner) else None


def _of_function(
    function: types.FunctionType, name: str, seen: set[int]
) -> Iterator[tuple[str, nn.Module]]:
    compiled = compiled_from(function)
    if compiled is not None:
        yield from roots_of(compiled, name, seen)
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
    """What a function holds: modules, their methods, functions over them, and containers of those."""
    for name, value in held.items():
        parts = _parts_of(value, type(value))
        if parts is None:
            yield from _if_held(name, value, seen)
        else:
            for key, part in islice(parts, _LOOKED_INTO):
                yield from _if_held(f"{name}.{key}", part, seen)


def _parts_of(value: Any, kind: type) -> Any:
    """What a container holds, by name, without asking a class of the user's; None for others."""
    if issubclass(kind, dict):
        # Whole, in one go: another thread may fill it meanwhile.
        return list(dict.items(value)) if dict.__len__(value) <= _LOOKED_INTO else ()
    if issubclass(kind, list):
        return enumerate(list.copy(value) if list.__len__(value) <= _LOOKED_INTO else ())
    return enumerate(tuple.__iter__(value)) if issubclass(kind, tuple) else None


def _if_held(name: str, value: Any, seen: set[int]) -> Iterator[tuple[str, nn.Module]]:
    kind = type(value)
    method = kind is types.MethodType and is_module(value.__self__)
    closure = kind is types.FunctionType and value.__closure__
    if method or closure or is_module(value):
        yield from roots_of(value, name, seen)


def _named_modules(root: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules inside of one, with their paths; what only says that it is one is left out."""
    if issubclass(type(root), torch.jit.ScriptModule):
        yield from root.named_modules()
        return
    stack, seen = [("", root)], set()
    while stack:
        path, module = stack.pop()
        if id(module) in seen or not is_module(module):
            continue
        seen.add(id(module))
        yield path, module
        if not issubclass(type(module), torch.jit.ScriptModule):
            inner = namespace_of(module)["_modules"].items()
            stack += [(f"{path}.{n}".strip("."), m) for n, m in reversed(inner)]


def names_in_code(function: Any, owners: Iterable[Any]) -> tuple[set[str], set[str]]:
    """The names that code uses, and those of attributes that it may bind.

    It is a function's code, and that of the classes and hooks of what it is made of.
    """
    stack: list[Any] = [function]
    for owner in owners:
        classes = [c for c in type(owner).__mro__ if c not in (object, nn.Module)]
        # What only makes an object names all of its attributes.
        stack += [f for c in classes for n, f in c.__dict__.items() if n != "__init__"]
        space = namespace_of(owner)
        stack += [f for hooks in FORWARD_HOOKS for f in space.get(hooks, {}).values()]
    found: set[str] = set()
    bound: set[str] = set()
    read: set[int] = set()
    while stack and len(read) < _READ:
        value = function_in(stack.pop())
        if value is None or id(value) in read:
            continue
        read.add(id(value))
        stack.append(value.__dict__.get("__wrapped__"))
        scope = value.__globals__
        for code in codes_of(value.__code__):
            words = [c for c in code.co_consts if type(c) is str]
            found.update(code.co_names, words)
            bound.update(
                words, (i.argval for i in dis.get_instructions(code) if i.opname in _BINDING)
            )
            stack += [scope[n] for n in code.co_names if n in scope]
    if not found.isdisjoint(("train", "eval")):
        bound.add("training")
    return found, bound


def function_in(value: Any) -> types.FunctionType | None:
    """The function that a value, or an attribute of a class, stands for."""
    inner = _UNWRAPPED.get(type(value))
    value = value if inner is None else inner(value)
    return value if type(value) is types.FunctionType else None


def codes_of(code: types.CodeType) -> Iterator[types.CodeType]:
    """A code, and those of the functions that it makes."""
    yield code
    for const in code.co_consts:
        if type(const) is types.CodeType:
            yield from codes_of(const)
