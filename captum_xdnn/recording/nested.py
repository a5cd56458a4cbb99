"""What a function holds further within: objects, containers in containers, cells of closures, arrays.

A function may set itself up in its first pass wherever it keeps things. Nearest first, to a bounded
depth and number, each once; no code of the user's is called for it.
"""

import gc
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from captum_xdnn.recording.contents import (
    BRIEF,
    CONTAINERS,
    THOROUGH,
    VARIABLE,
    Binding,
    array_of,
    container_of,
    content_of,
    content_or_length,
    holding,
    holds_nothing,
)
from captum_xdnn.recording.places import FORWARD_HOOKS, MadeOfAnother
from captum_xdnn.recording.random_state import draws
from captum_xdnn.recording.reached_by_code import FUNCTIONS, ByCode
from captum_xdnn.recording.ways import Nested, Way, slots_of


class Search(ByCode):
    """A look at what a function and its modules hold; ``thorough``, before a run that may be taken back.

    Attributes:
        found: What was met that is not ``known`` (addresses of what is noted already).
        modules: The modules among it, with their namespaces.
        sources: The sources of random numbers that were met.
    """

    def __init__(self, known: set[Any], *, thorough: bool) -> None:
        super().__init__(thorough=thorough)
        self._limits = THOROUGH if thorough else BRIEF
        self.found: list[Nested] = []
        self.modules: list[tuple[Any, dict[str, Any]]] = []
        self.sources: list[Any] = []
        self._known = known
        self._seen: set[int] = set()
        self._queue: deque[tuple[Any, int, Way]] = deque()
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
        for hooks in (_OF_ALL._global_forward_hooks, _OF_ALL._global_forward_pre_hooks):
            self._push(list(hooks.values()) if hooks else (), 0, way)
        for owner, space, attributes in spaces:
            if attributes or type(owner) not in self._kinds or any(map(space.get, FORWARD_HOOKS)):
                self._push_attributes(owner, space, attributes, 1, way)
        limits = self._limits
        while self._queue and len(self.found) < limits.many and len(self._seen) < limits.looked_at:
            self._look_at(*self._queue.popleft())

    def _push(self, values: Iterable[Any], depth: int, way: Way) -> None:
        for value in values:
            if not holds_nothing(value):
                self._push_one(value, depth, way)

    def _push_one(self, value: Any, depth: int, way: Way) -> None:
        if depth <= self._limits.depth and id(value) not in self._seen:
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
        elif issubclass(kind, _GROUPS):
            self._push(_members_of(value, kind, self._limits.entered), depth, way)
        elif kind in FUNCTIONS or issubclass(kind, partial):
            self._look_into_function(value, kind, depth, way)
        elif issubclass(kind, nn.Module):
            self._look_into_module(value, depth, way)
        elif draws(kind):
            self.sources.append(value)
        elif kind is ContextVar:
            self._look_at_name(Binding(value, value.name, VARIABLE), depth, way)
        elif (base := array_of(value, self._limits.size)) is not None:
            before = content_of(base, value)
            self._bytes += len(before)
            if self._bytes <= self._limits.sizes:
                self._note(value, base, before, way)
        else:
            self._look_into_object(value, kind, depth, way)

    def _look_into(self, value: Any, kind: type, depth: int, way: Way) -> None:
        base = container_of(kind)
        before = content_or_length(base, value, self._limits.length)
        self._note(value, base, before, way)
        if type(before) is not int and len(before) <= self._limits.entered:
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


_GROUPS = (tuple, frozenset, MappingProxyType)
_OF_ALL = nn.modules.module


def _members_of(value: Any, kind: type, longest: int) -> Iterable[Any]:
    """What is in something that holds others for good; nothing where that is too much."""
    if (
        kind is MappingProxyType
    ):  # itself it would ask what it stands for, which may be the user's code
        shown = gc.get_referents(value)[0]
        value = tuple(shown.values()) if type(shown) is dict else ()
    base = frozenset if issubclass(kind, frozenset) else tuple
    return base.__iter__(value) if base.__len__(value) < longest else ()


def _space_of(value: Any) -> dict[str, Any] | None:
    """The namespace of an object, also an empty one; None where it has none."""
    of_thread = issubclass(type(value), threading.local)
    try:
        space = (threading.local if of_thread else object).__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return space if type(space) is dict else None
