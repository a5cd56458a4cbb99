"""A fingerprint of everything that a traced function was read from.

Matching it is on the way of every attribution, so there are two readings: a quick one by
identity (``Watch``), and where that differs the full one, by identity and value.

A trace bakes in what Python code decided: which modules there are, their flags, hooks and plain
attributes, what a closure holds. The fingerprint notes all of that by identity (or by value for
plain values), so that a later call can tell, without tracing again, that nothing has changed.
The *contents* of parameters are no part of it: see ``Analysis.versions``.
"""

from __future__ import annotations

import functools
import types
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum_xdnn.homogeneity import code
from captum_xdnn.homogeneity.watch import GLOBAL_HOOKS, Unwatchable, Watch

PLAIN = (int, float, complex, bool, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
DEEPEST = 4
"""How far containers and functions are followed into what they hold."""


class Fingerprint:
    """What was seen of a function at one time; it does not keep the function alive."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._take(function)

    def _take(self, function: Callable[..., Any]) -> None:
        self._died = False
        self._marks = [_mark(atom, self._note_death) for atom in atoms_of(function)]
        try:
            self._watch: Watch | None = Watch(function)
        except Unwatchable:
            self._watch = None

    def _note_death(self, _: object) -> None:
        """Something seen is gone, so its address may come to mean something else."""
        self._died = True
        self._watch = None

    def matches(self, function: Callable[..., Any]) -> bool:
        """Whether the function is now as it was then."""
        watch = self._watch
        if watch is not None and watch.unchanged(function):
            return True
        if not self._matches_in_full(function):
            return False
        if watch is not None or self._died:
            self._take(function)
        return True

    def _matches_in_full(self, function: Callable[..., Any]) -> bool:
        atoms = atoms_of(function)
        marks = self._marks
        if len(atoms) != len(marks):
            return False
        for mark, atom in zip(marks, atoms, strict=True):
            if mark is atom:
                continue
            if isinstance(mark, weakref.ref):
                if mark() is not atom:
                    return False
            elif type(mark) is not type(atom) or isinstance(atom, Tensor) or mark != atom:
                return False
        return True


class Identity:
    """An object that cannot be referred to weakly, by its address."""

    __slots__ = ("address",)

    def __init__(self, address: int) -> None:
        self.address = address

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and other.address == self.address

    def __hash__(self) -> int:
        return self.address


def _mark(atom: Any, on_death: Callable[[Any], None]) -> Any:
    """The atom itself where holding it is harmless, else a weak reference to it."""
    if isinstance(atom, (*PLAIN, Tensor, Identity)):
        return atom
    return weakref.ref(atom, on_death)


def atoms_of(function: Callable[..., Any]) -> list[Any]:
    """Everything reachable that decides what the function computes, in a fixed order.

    Args:
        function: The function.
    """
    atoms: list[Any] = [len(hooks) for hooks in GLOBAL_HOOKS]
    _walk(function, atoms, set(), 0)
    return atoms


def _walk(value: Any, atoms: list[Any], visited: set[int], depth: int) -> None:
    kind = type(value)
    if kind in PLAIN or isinstance(value, Tensor):
        atoms.append(value)
    elif isinstance(value, nn.Module):
        _walk_module(value, atoms, visited)
    elif isinstance(value, dict | list | tuple | set | frozenset):
        _walk_container(value, atoms, visited, depth)
    elif id(value) in visited:
        return
    elif isinstance(value, types.FunctionType):
        _walk_function(value, atoms, visited, depth)
    elif isinstance(value, types.MethodType):
        _walk(value.__func__, atoms, visited, depth)
        _walk(value.__self__, atoms, visited, depth)
    elif isinstance(value, functools.partial):
        visited.add(id(value))
        if not depth:
            atoms.append(value)
        _walk_container((value.func, *value.args), atoms, visited, depth)
        _walk_container(value.keywords, atoms, visited, depth)
    else:
        visited.add(id(value))
        atoms.append(_referable(value))
        held = None if isinstance(value, type | types.ModuleType) else code.settings(value)
        if held is not None:
            _walk_container(held, atoms, visited, depth + 1)
            _walk_class(kind, atoms, visited)


def _walk_module(module: nn.Module, atoms: list[Any], visited: set[int]) -> None:
    atoms.append(module)
    if id(module) in visited:
        return
    visited.add(id(module))
    if isinstance(module, torch.jit.ScriptModule):  # its state is not in Python
        atoms += [*module.parameters(), *module.buffers(), getattr(module, "training", None)]
    for value in list(module.__dict__.values()):
        if value.__class__ in PLAIN:
            atoms.append(value)
        elif value.__class__ is dict or isinstance(value, dict):
            if value:
                _walk_container(value, atoms, visited, 1)
        else:
            _walk(value, atoms, visited, 1)
    _walk_class(type(module), atoms, visited)


def _walk_class(kind: type, atoms: list[Any], visited: set[int]) -> None:
    for each in code.classes(kind):
        if id(each) in visited:
            return
        visited.add(id(each))
        for function in code.functions(each):
            _walk_function(function, atoms, visited, 1)


def _walk_container(value: Any, atoms: list[Any], visited: set[int], depth: int) -> None:
    atoms.append(len(value))
    if code.is_large(value):
        atoms.append(_referable(value))
        return
    if depth > DEEPEST:
        return
    if isinstance(value, dict):
        for key, item in list(value.items()):
            atoms.append(key if isinstance(key, PLAIN) else _referable(key))
            _walk(item, atoms, visited, depth + 1)
    elif isinstance(value, set | frozenset):
        atoms.extend(sorted(map(repr, value)))
    else:
        for item in value:
            _walk(item, atoms, visited, depth + 1)


def _walk_function(
    function: types.FunctionType, atoms: list[Any], visited: set[int], depth: int
) -> None:
    atoms.append(function)
    if id(function) in visited:
        return
    visited.add(id(function))
    looked_into = not code.is_library(function) and depth <= DEEPEST
    for scope, name in code.places(function):
        held = scope[name]
        if looked_into:
            _walk(held, atoms, visited, depth + 1)
        elif held is not None:
            atoms.append(held if isinstance(held, PLAIN) else _referable(held))
    if not looked_into:
        return
    atoms.append(function.__code__)
    for cell in function.__closure__ or ():
        try:
            content = cell.cell_contents
        except ValueError:
            continue
        _walk(content, atoms, visited, depth + 1)
    for held in (function.__defaults__ or (), function.__kwdefaults__ or {}, function.__dict__):
        _walk_container(held, atoms, visited, depth + 1)


def _referable(value: Any) -> Any:
    try:
        weakref.ref(value)
    except TypeError:
        return Identity(id(value))
    return value
