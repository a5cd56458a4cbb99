"""What a function holds further within: objects, containers in containers, cells of closures, arrays.

A function may set itself up in its first pass wherever it keeps things. Nearest first, to a bounded
depth and number, each once; no code of the user's is called for it.
"""

import sys
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from functools import partial
from types import BuiltinFunctionType, CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import nn

from captum_xdnn.recording.contents import (
    CONTAINERS,
    LARGE,
    VARIABLE,
    Binding,
    array_of,
    container_of,
    content_of,
    holding,
    holds_nothing,
)
from captum_xdnn.recording.places import FORWARD_HOOKS, MadeOfAnother, function_in
from captum_xdnn.recording.random_state import draws
from captum_xdnn.recording.ways import (
    OWN,
    Nested,
    Way,
    home_of,
    is_foreign,
    is_installed,
    is_state,
    names_of,
    slots_of,
)

DEPTH = 5
"""So deep in one another things are noted, from what modules and the function hold; tuples do not count."""
MOST = 200
"""So many are noted at most."""
_SEEN = 20_000
"""So many are looked at at most."""
_ALL_BYTES = 8_000_000
_LIBRARYS: dict[type, bool] = {}
"""Classes of libraries alone, which live as long as they do, and whether their objects' attributes are state."""


class Search:
    """A look at what a function and its modules hold.

    Attributes:
        found: What was met that is not ``known`` (addresses of what is noted already).
        modules: The modules among it, with their namespaces.
        sources: The sources of random numbers that were met.
    """

    def __init__(self, known: set[Any]) -> None:
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
        spaces: Sequence[tuple[Any, dict[str, Any], list[tuple[str, Any]]]],
        arguments: Iterable[Any],
    ) -> None:
        """Look from a function, from objects with their namespaces and what those hold, and from arguments."""
        while issubclass(type(function), MadeOfAnother):
            function = function.base
        way = Way()
        self._seen.update([id(owner) for owner, space, _ in spaces if "_buffers" in space])
        self._push((function, *arguments), 0, way)
        for owner, space, attributes in spaces:
            if attributes or type(owner) not in self._kinds or any(map(space.get, FORWARD_HOOKS)):
                self._push_attributes(owner, space, attributes, 1, way)
        while self._queue and len(self.found) < MOST and len(self._seen) < _SEEN:
            self._look_at(*self._queue.popleft())

    def _push(self, values: Iterable[Any], depth: int, way: Way) -> None:
        for value in values:
            if not holds_nothing(value):
                self._push_one(value, depth, way)

    def _push_one(self, value: Any, depth: int, way: Way) -> None:
        if depth <= DEPTH and id(value) not in self._seen:
            self._seen.add(id(value))
            self._queue.append((value, depth, way))

    def _push_attributes(
        self,
        owner: Any,
        space: dict[str, Any],
        attributes: list[tuple[str, Any]],
        depth: int,
        way: Way,
    ) -> None:
        for name, value in attributes:
            if id(value) not in self._seen:
                self._push_one(value, depth, way.by(name, owner))
        if "_buffers" in space:
            for table in map(space.get, FORWARD_HOOKS):
                if table:
                    self._push(list(table.values()), depth, way.through(owner))
        if type(owner) not in self._kinds:
            self._push_class(type(owner), depth, way)

    def _push_class(self, kind: type, depth: int, way: Way) -> None:
        """What classes of the user's hold, and what their methods use of closures and globals."""
        state = _LIBRARYS.get(kind)
        if state is not None:
            self._kinds[kind] = state
            return
        self._kinds[kind] = is_state(kind)
        own = [p for p in kind.__mro__ if p is not object and not is_foreign(home_of(p))]
        looked = False
        for part in own:
            functions = [f for v in dict(part.__dict__).values() if (f := function_in(v))]
            users = not is_installed(home_of(part))
            for function in functions:
                holds = function.__code__.co_freevars not in ((), ("__class__",))
                if holds or (users and names_of(function.__code__).used):
                    self._push_one(function, depth, way)
                    looked = True
            if users:
                names = [names_of(f.__code__).attributes for f in functions]
                bound = frozenset[str]().union(*names) & part.__dict__.keys()
                self._look_at_class(part, bound, depth, way)
                looked = True
        home = sys.modules.get(home_of(kind))
        if not looked and getattr(home, kind.__name__, None) is kind:
            _LIBRARYS[kind] = self._kinds[kind]

    def _look_at_class(self, kind: type, bound: Iterable[str], depth: int, way: Way) -> None:
        """The attributes of a class that code binds, and its containers."""
        for name in bound:
            self._note_name(Binding(kind, name), way)
        for name, value in dict(kind.__dict__).items():
            if issubclass(type(value), CONTAINERS) and not name.startswith("__"):
                self._push_one(value, depth + 1, way.by(name, kind))

    def _note(self, held: Any, base: Any, before: Any, way: Way, name: str = "") -> None:
        if id(held) not in self._known:
            self._known.add(id(held))
            self.found.append(Nested(held, base, before, False, way, name))

    def _note_name(self, binding: Binding, way: Way) -> None:
        key = (id(binding.owner), binding.name)
        if key not in self._known:
            self._known.add(key)
            before = content_of(Binding, binding)
            self.found.append(Nested(binding, Binding, before, False, way, ""))

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
        elif kind in _FUNCTIONS or issubclass(kind, partial):
            self._look_into_function(value, kind, depth, way)
        elif issubclass(kind, nn.Module):
            self._look_into_module(value, depth, way)
        elif draws(kind):
            self.sources.append(value)
        elif kind is ContextVar:
            self._look_at_name(Binding(value, value.name, VARIABLE), depth, way)
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
            self._push_class(kind, depth, way)
        if not self._kinds[kind]:
            return
        for slot in slots_of(kind):
            self._look_at_name(Binding(value, slot.__name__, slot), depth, way)
        space = _space_of(value)
        if space is not None:
            attributes = holding(self._note_space(value, space, way))
            self._push_attributes(value, space, attributes, depth + 1, way)

    def _look_at_name(self, binding: Binding, depth: int, way: Way) -> None:
        self._note_name(binding, way.through(binding.owner))
        content = content_of(Binding, binding)
        self._push(content, depth + 1, way.by(binding.name, binding.owner))

    def _look_into_module(self, module: Any, depth: int, way: Way) -> None:
        space = _space_of(module)
        if space is None or "_modules" not in space or "_initialize_hook" in space:
            return  # the first pass of a lazy module makes another one of it
        if id(space) in self._known or issubclass(type(module), torch.jit.ScriptModule):
            return
        self.modules.append((module, space))
        attributes = holding(self._note_space(module, space, way))
        self._push_attributes(module, space, attributes, depth + 1, way)
        self._push(list(space["_modules"].values()), depth, way)

    def _look_into_function(self, function: Any, kind: type, depth: int, way: Way) -> None:
        if kind is BuiltinFunctionType:
            self._push((function.__self__,), depth, way)
        elif kind is MethodType:
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
        if home in OWN:
            return
        way = way.through(function)
        space = function.__dict__
        if not is_foreign(home) and (space or not depth):
            self._note_space(function, space, way)
        self._push((space.get("__wrapped__"),), depth, way)
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            content = content_of(CellType, cell)
            if not is_foreign(home) and name != "__class__":
                self._note(cell, CellType, content, way, name)
            self._push(content, depth + 1, way)
        self._push(function.__defaults__ or (), depth + 1, way)
        self._push((function.__kwdefaults__ or {}).values(), depth + 1, way)
        self._push(space.copy().values(), depth + 1, way)
        if not (is_foreign(home) or is_installed(str(dict.get(function.__globals__, "__name__")))):
            self._look_at_globals(function, depth, way)

    def _look_at_globals(self, function: FunctionType, depth: int, way: Way) -> None:
        scope, names = function.__globals__, names_of(function.__code__)
        for name in names.globals:
            self._note_name(Binding(scope, name), way)
        for name in names.used:
            value: Any = dict.get(scope, name)
            if issubclass(type(value), type):
                if not (is_foreign(home_of(value)) or is_installed(home_of(value))):
                    self._look_at_class(value, names.attributes, depth, way)
            elif not holds_nothing(value):
                called = type(value) in _FUNCTIONS
                self._push_one(value, depth if called else depth + 1, way.by(name, function))


_PARTS = ("func", "args", "keywords")
_FUNCTIONS = (FunctionType, MethodType, BuiltinFunctionType)


def _space_of(value: Any) -> dict[str, Any] | None:
    """The namespace of an object, also an empty one; None where it has none."""
    of_thread = issubclass(type(value), threading.local)
    try:
        space = (threading.local if of_thread else object).__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return space if type(space) is dict else None
