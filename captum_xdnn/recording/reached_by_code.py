"""What a function's code and the methods of a class reach: cells, defaults, globals, classes, modules.

A part of the search in ``nested.py``, which says how far it goes.
"""

import sys
from collections.abc import Callable, Iterable
from functools import partial
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any

from captum_xdnn.recording.contents import CONTAINERS, Binding, content_of, holds_nothing
from captum_xdnn.recording.places import function_in
from captum_xdnn.recording.ways import (
    OWN,
    CodeNames,
    Way,
    home_of,
    is_foreign,
    is_installed,
    is_state,
    names_of,
)

FUNCTIONS = (FunctionType, MethodType, BuiltinFunctionType)
_PARTS = ("func", "args", "keywords")
_LIBRARYS: dict[type, bool] = {}
"""Classes of libraries alone, which live as long as they do, and whether their objects' attributes are state."""


class ByCode:
    """The part of a search that follows code.

    Where the search is not ``thorough``, it leaves what code may bind for the first time, what classes
    hold beside containers, and what it names by a module.
    """

    def __init__(self, *, thorough: bool) -> None:
        self._kinds: dict[type, bool] = {}
        self._is_thorough = thorough
        self._read: set[tuple[int, CodeNames]] = set()

    _push: Callable[[Iterable[Any], int, Way], None]
    _push_one: Callable[[Any, int, Way], None]
    _note: Callable[[Any, Any, Any, Way, str], None]
    _note_name: Callable[[Binding, Way], None]
    _note_space: Callable[[Any, dict[str, Any], Way], dict[str, Any]]
    _look_into_object: Callable[[Any, type, int, Way], None]

    def _push_class(self, kind: type, depth: int, way: Way) -> None:
        """What classes of the user's hold, and what their methods use of closures and globals."""
        state = _LIBRARYS.get(kind)
        if state is not None:
            self._kinds[kind] = state
            return
        self._kinds[kind] = is_state(kind)
        meta: type = type(kind)  # which may keep what it has made
        every = (*kind.__mro__, *meta.__mro__)
        own = [part for part in every if not is_foreign(home_of(part))]
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
                self._look_at_class(part, frozenset[str]().union(*names), depth, way)
                looked = True
        home = sys.modules.get(home_of(kind))
        if not looked and getattr(home, kind.__name__, None) is kind:
            _LIBRARYS[kind] = self._kinds[kind]

    def _look_at_class(self, kind: type, bound: frozenset[str], depth: int, way: Way) -> None:
        """The attributes of a class that code binds, and what others hold."""
        for name in bound if self._is_thorough else bound & kind.__dict__.keys():
            self._note_name(Binding(kind, name), way)
        for name, value in dict(kind.__dict__).items():
            if not name.startswith("__") and self._is_held_by_class(value):
                self._push_one(value, depth + 1, way.by(name, kind))

    def _is_held_by_class(self, value: Any) -> bool:
        if issubclass(type(value), CONTAINERS):
            return True
        return self._is_thorough and not (holds_nothing(value) or function_in(value))

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
        scope, names = function.__globals__, names_of(function.__code__)
        module = str(dict.get(scope, "__name__"))
        if module.partition(".")[0] in OWN:
            return
        way = way.through(function)
        space, users = function.__dict__, not is_foreign(module)
        if users and (space or not depth or self._is_thorough):
            self._note_space(function, space, way)
        self._push((space.get("__wrapped__"),), depth, way)
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            content = content_of(CellType, cell)
            if users and name != "__class__":
                self._note(cell, CellType, content, way, name)
                self._look_at_named(content, names, depth, way)
            self._push(content, depth + 1, way)
        self._push(function.__defaults__ or (), depth + 1, way)
        self._push((function.__kwdefaults__ or {}).values(), depth + 1, way)
        self._push(space.copy().values(), depth + 1, way)
        if users and not is_installed(module):
            for name in names.globals:
                self._note_name(Binding(scope, name), way)
            if "globals" in names.used:  # it may bind any name
                self._note(scope, dict, scope.copy(), way, "")
            self._look_at_names(scope, names.used, names, depth, way, function)
            self._look_at_named([sys.modules.get(n) for n in names.modules], names, depth, way)

    def _look_at_names(
        self,
        scope: dict[str, Any],
        used: Iterable[str],
        names: CodeNames,
        depth: int,
        way: Way,
        owner: Any,
    ) -> None:
        """What code uses by these names of a module's."""
        for name in used:
            value: Any = dict.get(scope, name)
            if issubclass(type(value), type | ModuleType):
                self._look_at_named((value,), names, depth, way.by(name, owner))
            elif not holds_nothing(value):
                called = type(value) in FUNCTIONS
                self._push_one(value, depth if called else depth + 1, way.by(name, owner))

    def _look_at_named(self, values: Iterable[Any], names: CodeNames, depth: int, way: Way) -> None:
        """The classes and modules of the user's among what code names, as far as it uses them."""
        for value in values:
            kind = type(value)
            if issubclass(kind, ModuleType):
                self._look_at_module(value, names, depth, way)
            elif issubclass(kind, type) and not _is_librarys(home_of(value)):
                self._look_at_class(value, names.attributes, depth, way)
                if self._is_thorough and value not in self._kinds:
                    self._push_class(value, depth, way)

    def _look_at_module(self, module: ModuleType, names: CodeNames, depth: int, way: Way) -> None:
        """What code uses, or binds, as attributes of a module."""
        scope = ModuleType.__getattribute__(module, "__dict__")
        key = (id(module), names)
        home = str(dict.get(scope, "__name__"))
        if not self._is_thorough or key in self._read or _is_librarys(home):
            return
        self._read.add(key)
        for name in names.attributes:
            self._note_name(Binding(scope, name), way)
        self._look_at_names(scope, names.loaded, names, depth, way, module)


def _is_librarys(home: str) -> bool:
    return is_foreign(home) or is_installed(home)
