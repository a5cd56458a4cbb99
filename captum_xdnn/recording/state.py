"""State of the user's: noted before a run, put back when Captum's code is to follow.

Captum's code has to see the network as the caller left it, although the function has run once more.
"""

from __future__ import annotations

import collections
import random
import sys
from collections.abc import Callable, Iterable
from itertools import islice
from operator import eq, is_
from typing import Any

import torch
from torch import Tensor, nn

from captum_xdnn.recording.places import roots_of

_OWN = len(nn.Module().__dict__)
"""So many attributes every module keeps for itself, before its own."""
_CONTAINERS = (list, dict, set, collections.deque)
_PLAIN = (int, float, complex, str, bytes)
_LARGE = 1000
"""Larger containers are vocabularies, not state."""


class Noted:
    """The attributes of a function's modules at one time, shallowly, and Python's random numbers.

    Args:
        function: The function.
        dice: Whether to note the state of Python's and NumPy's random numbers as well.
    """

    __slots__ = ("_containers", "_dice", "_spaces")

    def __init__(self, function: Callable[..., Any] | None, *, dice: bool) -> None:
        self._spaces = [(space, space.copy()) for space in _namespaces(function)]
        self._containers: list[tuple[Any, Any]] = []
        for namespace, _ in self._spaces:
            of_module = "_buffers" in namespace
            for value in islice(namespace.values(), _OWN if of_module else 0, None):
                if value.__class__ in _CONTAINERS and len(value) < _LARGE:
                    self._containers.append((value, value.copy()))
            if of_module and namespace["_buffers"]:
                buffers = namespace["_buffers"]
                self._containers.append((buffers, buffers.copy()))
        self._dice: list[tuple[Callable[[Any], None], Any]] = []
        if dice:
            self._dice.append((random.setstate, random.getstate()))
            numpy: Any = sys.modules.get("numpy")
            if numpy is not None:
                self._dice.append((numpy.random.set_state, numpy.random.get_state()))

    def replaced(self) -> set[int]:
        """The addresses of what was held where something else is held now."""
        found: set[int] = set()
        for namespace, held in self._spaces:
            if not _same(namespace, held):
                gone = [v for n, v in held.items() if namespace.get(n, self) is not v]
                found.update(map(id, gone))
                found.update(id(part) for v in gone if isinstance(v, tuple) for part in v)
        for container, before in self._containers:
            if not _same(container, before):
                found.update(map(id, before.values() if isinstance(before, dict) else before))
        return found

    def plain_changed(self) -> bool:
        """Whether an attribute changed that holds a number or the like, before and now."""
        for namespace, held in self._spaces:
            if not _same(namespace, held) and any(
                namespace.get(n) is not v and isinstance(v, _PLAIN) for n, v in held.items()
            ):
                return True
        return False

    def holds(self, tensor: Tensor) -> bool:
        """Whether a tensor is an attribute or a buffer."""
        spaces = (values.values() for _, values in self._spaces)
        buffers = (c.values() for c, _ in self._containers if isinstance(c, dict))
        return any(value is tensor for values in (*spaces, *buffers) for value in values)

    def put_back_plain(self) -> None:
        """Put back the attributes that hold numbers and the like, before and now: counters."""
        for namespace, held in self._spaces:
            if _same(namespace, held):
                continue
            for name, value in held.items():
                now = namespace.get(name, self)
                if now is not value and isinstance(value, _PLAIN) and isinstance(now, _PLAIN):
                    namespace[name] = value

    def put_back(self) -> None:
        """Put the attributes and the random numbers back."""
        for namespace, held in self._spaces:
            if not _same(namespace, held):
                for name in [n for n in namespace if n not in held]:
                    del namespace[name]
                namespace.update(held)
        for container, before in self._containers:
            if not _same(container, before):
                container.clear()
                (container.extend if hasattr(container, "extend") else container.update)(before)
        for restore, state in self._dice:
            restore(state)


def put_back_tensors(saved: Iterable[tuple[Tensor, Tensor, int]]) -> None:
    """Put back what tensors held before a run wrote into them.

    Args:
        saved: Tensors with copies of their content, and how often they had been written.
    """
    with torch.no_grad():
        for tensor, content, version in saved:
            tensor.detach().copy_(content)
            if not tensor.is_inference():
                torch._C._autograd._unsafe_set_version_counter((tensor,), (version,))


def _namespaces(function: Any) -> list[dict[str, Any]]:
    """The namespaces of a function's modules, and of the object that it belongs to."""
    found: dict[int, dict[str, Any]] = {}
    stack: list[Any] = [function]
    if not isinstance(function, nn.Module):
        owner = getattr(function, "__self__", function)
        space = getattr(owner, "__dict__", None)
        if type(space) is dict and not isinstance(owner, type | nn.Module):
            found[id(space)] = space
        stack = [root for _, root in roots_of(function)]
    while stack:
        module = stack.pop()
        if module is None or isinstance(module, torch.jit.ScriptModule):
            continue  # the state of a script is not in Python
        space = module.__dict__
        if id(space) not in found:
            found[id(space)] = space
            stack += space["_modules"].values()
    return list(found.values())


def _same(container: Any, before: Any) -> bool:
    """Whether a container holds the very same things, in the same order."""
    if len(container) != len(before):
        return False
    if isinstance(container, dict):
        return all(map(is_, container.values(), before.values())) and all(
            map(eq, container, before)
        )
    if isinstance(container, set):
        return bool(container == before)
    return all(map(is_, container, before))
