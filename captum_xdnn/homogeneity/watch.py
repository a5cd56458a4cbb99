"""A watch: the quick reading of a fingerprint, by the identity of all that was seen.

It notes every namespace and container that decides what a function computes, and the objects that
they held. Reading it costs microseconds, and it is read at every call. It holds what it has seen:
a layer that was replaced lives on until the next reading.

What cannot be watched this way (state outside of Python, a function that holds itself) has no
watch and is read in full.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain
from operator import attrgetter, is_
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_globals

from captum_xdnn.homogeneity import code

_LEAVES = (int, float, complex, bool, str, bytes, type(None), Tensor)
_NAMED = (types.ModuleType, types.BuiltinFunctionType, type)
GLOBAL_HOOKS = tuple(
    getattr(module_globals, name)
    for name in (
        "_global_forward_hooks",
        "_global_forward_pre_hooks",
        "_global_backward_hooks",
        "_global_backward_pre_hooks",
    )
    if hasattr(module_globals, name)
)
"""Hooks that torch calls on every module."""

_content = attrgetter("cell_contents")
_parts = attrgetter("__code__", "__defaults__", "__kwdefaults__")


class Unwatchable(Exception):  # noqa: N818 - an answer, not an error
    """The function holds something whose changes would not show, or itself."""


class Watch:
    """The identity of everything that decides what a function computes.

    It holds the namespaces of modules, and never the function: that one can still die, and
    whoever keeps the watch lets go of it then.

    Args:
        function: The function.

    Raises:
        Unwatchable: If it has to be read in full.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        # All of one kind stand in one list, so that a reading is a few loops in C.
        self._sized: list[Collection[Any]] = list(GLOBAL_HOOKS)
        self._iterated: list[Iterable[Any]] = []
        self._dicts: list[dict[Any, Any]] = []
        self._classes: list[types.MappingProxyType[str, Any]] = []
        self._functions: list[types.FunctionType] = []
        self._scopes: list[dict[str, Any]] = []
        self._names: list[str] = []
        self._cells: list[types.CellType] = []
        self._seen: set[int] = set()
        self._root = function
        self._add(function)
        del self._root, self._seen
        self._sized += self._classes
        self._lengths = [*map(len, self._sized)]
        try:
            self._held = [*self._reading(function)]
        except ValueError as error:  # a variable that is not bound yet
            raise Unwatchable from error

    def unchanged(self, function: Callable[..., Any]) -> bool:
        """Whether everything is the same object as it was.

        Args:
            function: The function that is watched.
        """
        if [*map(len, self._sized)] != self._lengths:
            return False
        try:
            return all(map(is_, self._reading(function), self._held))
        except (ValueError, RuntimeError):  # no longer bound; changed by another thread meanwhile
            return False

    def _reading(self, function: Callable[..., Any]) -> Iterator[Any]:
        return chain(
            _parts(function) if type(function) is types.FunctionType else (),
            chain.from_iterable(self._iterated),
            chain.from_iterable(map(dict.values, self._dicts)),
            chain.from_iterable(map(types.MappingProxyType.values, self._classes)),
            chain.from_iterable(map(_parts, self._functions)),
            map(dict.get, self._scopes, self._names),
            map(_content, self._cells),
        )

    def _add(self, value: Any) -> None:
        """Whatever a name is bound to; the binding is noted where the name is."""
        if isinstance(value, _LEAVES):
            return
        if id(value) in self._seen:
            if value is self._root or value is getattr(self._root, "__self__", None):
                raise Unwatchable  # the watch would keep the function alive through it
            return
        self._seen.add(id(value))
        if isinstance(value, nn.Module):
            self._add_module(value)
        elif isinstance(value, dict | list | set):
            self._add_container(value)
        elif isinstance(value, tuple | frozenset):
            self._add_all(value)
        elif isinstance(value, types.FunctionType | types.MethodType | functools.partial):
            self._add_callable(value)
        elif not isinstance(value, _NAMED):
            self._add_object(value)

    def _add_callable(
        self, value: types.FunctionType | types.MethodType | functools.partial[Any]
    ) -> None:
        if isinstance(value, types.MethodType):
            self._add_all((value.__self__, value.__func__))
        elif isinstance(value, functools.partial):
            self._add_all((value.func, *value.args, value.keywords))
        elif not code.is_library(value):
            self._add_function(value)

    def _add_all(self, values: Iterable[Any]) -> None:
        for value in list(values):  # a copy: another thread may change what they come from
            self._add(value)

    def _add_module(self, module: nn.Module) -> None:
        if isinstance(module, torch.jit.ScriptModule):  # its state is not in Python
            raise Unwatchable
        namespace = module.__dict__
        self._sized.append(namespace)
        self._dicts.append(namespace)
        self._add_all(namespace.values())
        self._add_class(type(module))

    def _add_class(self, kind: type) -> None:
        for each in code.classes(kind):
            if id(each) in self._seen:
                return
            self._seen.add(id(each))
            self._classes.append(vars(each))
            for function in code.functions(each):
                self._add_function(function)

    def _add_container(self, container: dict[Any, Any] | list[Any] | set[Any]) -> None:
        self._sized.append(container)
        if not container or code.is_large(container):
            return
        self._iterated.append(container)
        if isinstance(container, dict):
            self._dicts.append(container)
            self._add_all(container.values())
        else:
            self._add_all(container)

    def _add_object(self, value: Any) -> None:
        held = code.settings(value)
        if held is not None:
            self._sized.append(held)
            self._dicts.append(held)
            self._add_all(held.values())
            self._add_class(type(value))
        elif value is self._root:
            raise Unwatchable

    def _add_function(self, function: types.FunctionType) -> None:
        """The function may be of a library: then what it calls is noted, and not looked into."""
        looked_into = not code.is_library(function)
        if function is not self._root:
            self._functions.append(function)
        for scope, name in code.places(function):
            self._scopes.append(scope)
            self._names.append(name)
            if looked_into:
                self._add(scope[name])
        if looked_into:
            cells = function.__closure__ or ()
            self._cells += cells
            try:
                self._add_all(map(_content, cells))
            except ValueError as error:  # a variable that is not bound yet
                raise Unwatchable from error
            self._add_all((function.__defaults__, function.__kwdefaults__, function.__dict__))
