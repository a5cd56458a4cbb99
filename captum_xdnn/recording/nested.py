"""What a function holds further within: objects, containers in containers, cells of closures, arrays.

A function may set itself up in its first pass wherever it keeps things. Nearest first, to a bounded
depth and number, each once; no code of the user's is called for it.
"""

import dis
import sys
from collections import deque
from collections.abc import Iterable
from functools import partial
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from captum_xdnn.recording.contents import (
    CONTAINERS,
    LARGE,
    PLAIN,
    array_of,
    container_of,
    content_of,
)
from captum_xdnn.recording.places import MadeOfAnother, codes_of, names_in_code
from captum_xdnn.recording.random_state import draws

DEPTH = 5
"""So deep in one another things are noted, from what modules and the function hold; tuples do not count."""
MOST = 200
"""So many are noted at most."""
_SEEN = 20_000
"""So many are looked at at most."""
_ALL_BYTES = 8_000_000
_NOTHING = frozenset((*PLAIN, bool, type(None), type, ModuleType, BuiltinFunctionType))
_NOTHING |= {Tensor, nn.Parameter, torch.dtype, torch.device, torch.Size}
"""Things of these classes hold nothing further."""
_OF_MODULES = frozenset(nn.Module().__dict__)
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_OPEN = ("argparse", "collections", "functools", "types")
"""Of the standard library's objects only these are state: others stand for threads, files, processes."""
_OWN = ("captum", "captum_xdnn")


class Way(NamedTuple):
    """How something is reached: by attributes of these names, from these objects and functions."""

    names: tuple[str, ...] = ()
    owners: tuple[Any, ...] = ()

    def by(self, name: str, owner: Any) -> "Way":
        """The way to an attribute of what this is the way to."""
        return Way((*self.names, name), self._with(owner))

    def through(self, owner: Any) -> "Way":
        """The way to what a function holds that this is the way to."""
        return Way(self.names, self._with(owner))

    def _with(self, owner: Any) -> tuple[Any, ...]:
        last = self.owners[-1] if self.owners else None
        return self.owners if last is owner else (*self.owners, owner)

    def used_and_bound(self) -> tuple[set[str], set[str]]:
        """The names that the code of those owners uses, and those of attributes that it may bind."""
        used, bound = set[str](), set[str]()
        for owner in self.owners:
            whole = type(owner) is FunctionType
            found = names_in_code(owner, ()) if whole else names_in_code(None, (owner,))
            used |= found[0]
            bound |= found[1]
        return used, bound


class Nested(NamedTuple):
    """A container, a namespace, a cell or an array, with what it holds.

    The last owner on the way is whose namespace, or cell of that name, it is.
    """

    held: Any
    base: Any
    before: Any
    is_space: bool
    way: Way
    name: str

    def is_bound(self) -> bool:
        """Whether the function that has this cell binds it."""
        owner = self.way.owners[-1]
        codes = codes_of(owner.__code__) if type(owner) is FunctionType else ()
        return any(
            i.argval == self.name and i.opname in ("STORE_DEREF", "DELETE_DEREF")
            for code in codes
            for i in dis.get_instructions(code)
        )


class Search:
    """A look at what a function and its modules hold.

    Attributes:
        found: What was met that is not ``known`` (addresses of what is noted already).
        modules: The modules among it, with their namespaces.
        sources: The sources of random numbers that were met.
    """

    def __init__(self, known: set[int]) -> None:
        self.found: list[Nested] = []
        self.modules: list[tuple[Any, dict[str, Any]]] = []
        self.sources: list[Any] = []
        self._known = known
        self._seen: set[int] = set()
        self._queue: deque[tuple[Any, int, Way]] = deque()
        self._kinds: dict[type, bool] = {}
        self._bytes = 0

    def look(
        self,
        function: Any,
        spaces: Iterable[tuple[Any, dict[str, Any]]],
        arguments: Iterable[Any],
    ) -> None:
        """Look from a function, from objects with their namespaces, and from arguments."""
        while issubclass(type(function), MadeOfAnother):
            function = function.base
        way = Way()
        self._push((function, *arguments), 0, way)
        for owner, space in spaces:
            self._seen.add(id(owner))
            self._push_attributes(owner, space.copy(), 1, way)
        while self._queue and len(self.found) < MOST and len(self._seen) < _SEEN:
            self._look_at(*self._queue.popleft())

    def _push(self, values: Iterable[Any], depth: int, way: Way) -> None:
        if depth <= DEPTH:
            for value in values:
                if type(value) not in _NOTHING and id(value) not in self._seen:
                    self._seen.add(id(value))
                    self._queue.append((value, depth, way))

    def _push_attributes(self, owner: Any, space: dict[str, Any], depth: int, way: Way) -> None:
        of_module = "_buffers" in space
        for name, value in space.items():
            if type(value) not in _NOTHING and not (of_module and name in _OF_MODULES):
                self._push((value,), depth, way.by(name, owner))
        for table in map(space.get, _HOOKS if of_module else ()):
            if table:
                self._push(list(table.values()), depth, way.through(owner))
        self._push_methods(type(owner), depth, way)

    def _push_methods(self, kind: type, depth: int, way: Way) -> None:
        """The methods of a class that was made inside of a function, whose names it may bind."""
        if kind in self._kinds:
            return
        self._kinds[kind] = self._is_state(kind)
        for part in kind.__mro__:
            if part is not object and not _is_foreign(_home_of(part)):
                functions = map(_function_in, list(part.__dict__.values()))
                closures = (f for f in functions if f is not None and f.__closure__)
                named = [f for f in closures if f.__code__.co_freevars != ("__class__",)]
                self._push(named, depth, way)

    def _note(self, held: Any, base: Any, before: Any, way: Way, name: str = "") -> None:
        if id(held) not in self._known:
            self._known.add(id(held))
            self.found.append(Nested(held, base, before, False, way, name))

    def _note_space(self, owner: Any, space: dict[str, Any], way: Way) -> dict[str, Any]:
        before = space.copy()
        if id(space) not in self._known:
            self._known.add(id(space))
            self.found.append(Nested(space, dict, before, True, way.through(owner), ""))
        return before

    def _look_at(self, value: Any, depth: int, way: Way) -> None:
        kind = type(value)
        if issubclass(kind, CONTAINERS):
            self._look_into(value, kind, depth, way)
        elif issubclass(kind, tuple):
            if tuple.__len__(value) < LARGE:
                self._push(tuple.__iter__(value), depth, way)
        elif kind in (FunctionType, MethodType) or issubclass(kind, partial):
            self._look_into_function(value, kind, depth, way)
        elif issubclass(kind, nn.Module):
            self._look_into_module(value, depth, way)
        elif draws(kind):
            self.sources.append(value)
        elif (base := array_of(value)) is not None:
            before = content_of(base, value)
            self._bytes += len(before)
            if self._bytes <= _ALL_BYTES:
                self._note(value, base, before, way)
        else:
            self._look_into_object(value, kind, depth, way)

    def _look_into(self, value: Any, kind: type, depth: int, way: Way) -> None:
        base = container_of(kind)
        if base.__len__(value) < LARGE:
            before = content_of(base, value)
            self._note(value, base, before, way)
            if kind is dict:
                before = before.values()
            elif issubclass(base, dict):
                before = [held for _, held in before]
            self._push(before, depth + 1, way)
        if kind not in CONTAINERS:
            self._look_into_object(value, kind, depth, way)

    def _look_into_object(self, value: Any, kind: type, depth: int, way: Way) -> None:
        if kind not in self._kinds:
            self._push_methods(kind, depth, way)
        space = _space_of(value) if self._kinds[kind] else None
        if space is not None:
            self._push_attributes(value, self._note_space(value, space, way), depth + 1, way)

    def _look_into_module(self, module: Any, depth: int, way: Way) -> None:
        space = _space_of(module)
        if space is None or "_modules" not in space or "_initialize_hook" in space:
            return  # the first pass of a lazy module makes another one of it
        if id(space) in self._known or issubclass(type(module), torch.jit.ScriptModule):
            return
        self.modules.append((module, space))
        self._push_attributes(module, self._note_space(module, space, way), depth + 1, way)
        self._push(list(space["_modules"].values()), depth, way)

    def _look_into_function(self, function: Any, kind: type, depth: int, way: Way) -> None:
        if kind is MethodType:
            self._push((function.__self__, function.__func__), depth, way)
        elif kind is FunctionType:
            self._look_into_code(function, depth, way)
        else:
            called, args, keywords = (partial.__dict__[n].__get__(function) for n in _PARTS)
            self._push((called,), depth, way)
            self._push((*args, keywords), depth + 1, way)
            self._look_into_object(function, kind, depth, way)

    def _look_into_code(self, function: FunctionType, depth: int, way: Way) -> None:
        home = str(dict.get(function.__globals__, "__name__")).partition(".")[0]
        if home in _OWN:
            return
        way = way.through(function)
        space = function.__dict__
        if not _is_foreign(home) and (space or not depth):
            self._note_space(function, space, way)
        self._push((space.get("__wrapped__"),), depth, way)
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            content = content_of(CellType, cell)
            if not _is_foreign(home) and name != "__class__":
                self._note(cell, CellType, content, way, name)
            self._push(content, depth + 1, way)
        self._push(function.__defaults__ or (), depth + 1, way)
        self._push((function.__kwdefaults__ or {}).values(), depth + 1, way)
        self._push(space.copy().values(), depth + 1, way)

    def _is_state(self, kind: type) -> bool:
        """Whether the attributes of a class's objects are state of the user's."""
        if issubclass(kind, type | ModuleType | Tensor):
            return False
        homes = [_home_of(part) for part in kind.__mro__]
        first, _, rest = homes[0].partition(".")
        if first in sys.stdlib_module_names and first not in _OPEN:
            return False
        if first == "torch" and rest.startswith(("_", "fx")):
            return False  # graphs, and what compilers hold
        return not any(home.partition(".")[0] in _OWN for home in homes)


_PARTS = ("func", "args", "keywords")


def _space_of(value: Any) -> dict[str, Any] | None:
    """The namespace of an object, also an empty one; None where it has none."""
    try:
        space = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return space if type(space) is dict else None


def _home_of(kind: type) -> str:
    return str(type.__getattribute__(kind, "__module__"))


def _is_foreign(home: str) -> bool:
    """Whether a module of Python's is none of the user's."""
    first = home.partition(".")[0]
    return first in ("torch", *_OWN) or first in sys.stdlib_module_names


def _function_in(value: Any) -> FunctionType | None:
    if type(value) is property:
        value = value.fget
    elif type(value) in (staticmethod, classmethod):
        value = value.__func__
    return value if type(value) is FunctionType else None
