"""A watch: the quick reading of a fingerprint, by the memory addresses of all that was seen.

It notes every namespace and container that decides what a function computes, and the addresses
of what they held. Equal addresses mean that nothing was rebound, as long as what was seen is
still alive: ``Fingerprint`` keeps plain values and tensors, watches the deaths of the rest, and
the watch keeps the containers. Reading it costs microseconds, and it is read at every call.

A function that cannot be watched this way (containers in containers, functions that hold further
state) has no watch and is read in full.
"""

from __future__ import annotations

import types
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_globals

_LEAVES = frozenset((int, float, complex, bool, str, bytes, type(None)))
_FUNCTIONS = (types.FunctionType, types.MethodType)
_CONTAINERS = frozenset((dict, OrderedDict, list, set))
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


class Unwatchable(Exception):  # noqa: N818 - an answer, not an error
    """The function holds something whose changes its addresses would not show."""


class Watch:
    """The addresses of everything that decides what a function computes.

    It holds the namespaces of modules, not the modules: a module that is the function can still
    die, and whoever keeps the watch lets go of it then.

    Args:
        function: The function.

    Raises:
        Unwatchable: If it has to be read in full.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._empty: list[Any] = []
        self._held: list[tuple[Callable[[], Iterable[Any]], list[int]]] = []
        self._seen: set[int] = set()
        if isinstance(function, nn.Module):
            self._add_module(function)
        elif type(function) is types.FunctionType:
            self._add_function(function)
        elif type(function) is types.MethodType and isinstance(function.__self__, nn.Module):
            self._add_module(function.__self__)
        else:
            raise Unwatchable
        self._hooks = [len(hooks) for hooks in _HOOKS]

    def unchanged(self) -> bool:
        """Whether every address is as it was."""
        if any(self._empty) or [len(hooks) for hooks in _HOOKS] != self._hooks:
            return False
        for values, addresses in self._held:  # noqa: SIM110 - twice as fast as all(...)
            if [*map(id, values())] != addresses:
                return False
        return True

    def _add(self, values: Callable[[], Iterable[Any]]) -> None:
        self._held.append((values, [*map(id, values())]))

    def _add_module(self, module: nn.Module) -> None:
        if id(module) in self._seen:
            return
        self._seen.add(id(module))
        if isinstance(module, torch.jit.ScriptModule):  # its state is not in Python
            raise Unwatchable
        namespace = module.__dict__
        self._add(namespace.values)
        for value in namespace.values():
            if isinstance(value, _FUNCTIONS):
                raise Unwatchable
            if value.__class__ in _CONTAINERS:
                self._add_container(value)
            elif isinstance(value, tuple) and not all(v.__class__ in _LEAVES for v in value):
                raise Unwatchable
        for child in namespace["_modules"].values():
            if child is not None:
                self._add_module(child)

    def _add_container(self, container: Any) -> None:
        if not container:
            self._empty.append(container)
            return
        if isinstance(container, dict):
            self._add(container.keys)
            self._add(container.values)
            items = container.values()
        else:
            self._add(container.__iter__)
            items = container
        if any(i.__class__ not in _LEAVES and not isinstance(i, Tensor | nn.Module) for i in items):
            raise Unwatchable

    def _add_function(self, function: types.FunctionType) -> None:
        if function.__kwdefaults__:
            raise Unwatchable
        scope, names, cells = function.__globals__, function.__code__.co_names, function.__closure__

        def held() -> list[Any]:
            return [*map(scope.get, names), *(cell.cell_contents for cell in cells or ())]

        try:
            contents = [*held(), *(function.__defaults__ or ())]
        except ValueError as error:  # a variable that is not bound yet
            raise Unwatchable from error
        for value in contents:
            if isinstance(value, nn.Module):
                self._add_module(value)
            elif value.__class__ not in _LEAVES and not isinstance(
                value,
                Tensor | types.ModuleType | type | types.BuiltinFunctionType,
            ):
                raise Unwatchable
        self._add(held)
