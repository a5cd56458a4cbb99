"""State of the user's: noted before a run and after it, put back when Captum's code is to follow.

Captum's code has to see the network as the caller left it, although the function has run once more.
Other threads may change the same objects meanwhile: what they did stays.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import chain, islice
from types import MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from captum_xdnn._torch import set_version_counter
from captum_xdnn.recording.containers import (
    CONTAINERS,
    PLAIN,
    Change,
    by_key,
    content_of,
    is_same,
    is_same_table,
    only,
    plain_pairs,
    refill,
    undo,
    values_of,
)
from captum_xdnn.recording.dice import Dice, comparable, dice_of, draws
from captum_xdnn.recording.places import is_module, names_in_code, namespace_of, roots_of
from captum_xdnn.recording.tensors import is_hollow

_OWN = len(nn.Module().__dict__)
"""So many attributes every module keeps for itself, before its own."""
_SIMPLE = frozenset((*PLAIN, bool, type(None), tuple))
_LARGE = 1000
"""Larger containers are vocabularies, not state."""


class Noted:
    """The attributes of a function's modules at one time, shallowly, and Python's random numbers.

    What a run has changed is noted right after it (``close``). Where no other thread has run since
    the beginning, all that differs is put back; else only what the run itself changed.

    Args:
        function: The function.
        dice: Whether to note the state of Python's and NumPy's random numbers as well.
        arguments: What it takes beside its inputs.
    """

    __slots__ = ("_changes", "_containers", "_dice", "_function", "_spaces", "_threads")

    def __init__(
        self, function: Callable[..., Any] | None, *, dice: bool, arguments: Sequence[Any] = ()
    ) -> None:
        self._function = function
        self._threads = [_others()]
        self._changes: tuple[list[Change], list[Change]] | None = None
        self._containers: list[tuple[Any, Any, Any]] = []
        self._dice: list[Dice] = []
        self._spaces = [(s, s.copy()) for s in _namespaces(function, arguments)]
        for value in arguments:
            self._note(value, type(value))
        for _, held in self._spaces:
            of_module = "_buffers" in held
            for value in islice(held.values(), _OWN if of_module else 0, None):
                kind = type(value)
                if kind not in _SIMPLE:
                    self._note(value, kind)
            if of_module and held["_buffers"]:
                self._note(held["_buffers"], dict)
        if dice:
            numpy: Any = sys.modules.get("numpy")
            self._dice.append(dice_of(random, is_shared=True))
            if numpy is not None:
                self._dice.append(dice_of(numpy.random, is_shared=True))

    def _note(self, value: Any, kind: type) -> None:
        if issubclass(kind, CONTAINERS):
            base: Any = next(base for base in CONTAINERS if issubclass(kind, base))
            if base.__len__(value) < _LARGE:
                self._containers.append((value, base, content_of(base, value)))
        elif draws(kind):
            self._dice.append(dice_of(value, is_shared=False))

    def close(self) -> None:
        """Note what the run has changed, right after it; what comes later is not the run's."""
        if self._changes is None:
            self._changes = self._differences()
            for index, dice in enumerate(self._dice):
                state = dice.read()
                if comparable(state) != comparable(dice.before):
                    self._dice[index] = dice._replace(after=state)
            self._threads.append(_others())

    def _differences(self) -> tuple[list[Change], list[Change]]:
        """The namespaces and the containers that hold something else now."""
        spaces = [Change(s, dict, b, s.copy()) for s, b in self._spaces if not is_same_table(s, b)]
        containers = [
            Change(held, base, before, content_of(base, held))
            for held, base, before in self._containers
            if not is_same(held, base, before)
        ]
        return spaces, containers

    def _closed(self) -> tuple[list[Change], list[Change]]:
        self.close()
        return self._changes or ([], [])

    def replaced(self) -> set[int]:
        """The addresses of what was held where something else is held after the run."""
        found: set[int] = set()
        spaces, containers = self._closed()
        for _, _, before, after in spaces:
            gone = [v for n, v in before.items() if after.get(n, self) is not v]
            found.update(map(id, gone))
            found.update(
                id(t) for v in gone if issubclass(type(v), tuple) for t in tuple.__iter__(v)
            )
        for change in containers:
            found.update(map(id, values_of(change)))
        return found

    def plain_changed(self) -> bool:
        """Whether an attribute changed that held a number or the like."""
        return any(
            after.get(n) is not v and issubclass(type(v), PLAIN)
            for _, _, before, after in self._closed()[0]
            for n, v in before.items()
        )

    def rolled(self) -> bool:
        """Whether random numbers were drawn, of those whose state is noted."""
        self.close()
        return any(dice.after is not None for dice in self._dice)

    def holds(self, tensor: Tensor) -> bool:
        """Whether a tensor is an attribute or a buffer."""
        tables = [held for _, held in self._spaces]
        tables += [before for _, _, before in self._containers if type(before) is dict]
        return any(value is tensor for table in tables for value in table.values())

    def put_back_plain(self) -> None:
        """Put back what holds numbers and the like, before and now: counters."""
        for held, base, before, after in self._to_undo()[0]:
            if issubclass(base, dict):
                now, plain = (
                    by_key(content_of(base, held)),
                    (plain_pairs(before), plain_pairs(after)),
                )
                for address, (key, value) in plain[1].items():
                    was = plain[0].get(address, (key, value))[1]
                    if was is not value and now.get(address, (key, was))[1] is value:
                        base.__setitem__(held, key, was)

    def put_back_appended(self) -> None:
        """Take away what the run appended to lists, where another run has appended as much since."""
        for held, base, before, after in self._closed()[1]:
            if base in (list, deque):
                now, start, end = list(base.__iter__(held)), len(before), len(after)
                grown = end > start and is_same(after[:start], list, before)
                if grown and len(now) == 2 * end - start and is_same(now[:end], list, after):
                    for index in range(end - 1, start - 1, -1):
                        base.__delitem__(held, index)

    def put_back(self) -> None:
        """Put the attributes and the random numbers back."""
        changes, alone = self._to_undo()
        for change in changes:
            undo(change)
            if alone and not is_same(*change[:3]):
                refill(change)
        self._changes = ([], [])
        for dice in self._dice:
            if dice.after is None:
                continue  # the run drew none: if others have, they must not draw them again
            moved = not dice.is_at(dice.before)
            mine = not dice.is_shared or self._undisturbed()
            if (moved and self._alone()) or (mine and dice.is_at(dice.after)):
                dice.write(dice.before)

    def _to_undo(self) -> tuple[list[Change], bool]:
        """What is to be put back, and whether it is all that has changed since the beginning.

        Whose a change is that was made while another thread ran nobody has seen: it counts as the
        run's where the network's code uses the name.
        """
        spaces, containers = self._closed()
        every = [*chain(*self._differences())]
        if self._alone():  # asked after looking: nobody has changed anything before that
            return every, True
        if self._undisturbed() or not (spaces or containers):
            return [*spaces, *containers], False
        used = names_in_code(self._function, _owners(self._function))
        used.add("_buffers")
        mine = [c._replace(after=only(used, c.before, c.after)) for c in spaces]
        names: dict[int, set[str]] = {}
        for name, value in chain.from_iterable(held.items() for _, held in self._spaces):
            names.setdefault(id(value), set()).add(name)
        return mine + [c for c in containers if used & names.get(id(c.held), used)], False

    def _alone(self) -> bool:
        """Whether no other thread has run since the beginning."""
        return self._threads[0] == _others()

    def _undisturbed(self) -> bool:
        """Whether no other thread ran while the function did."""
        return self._threads[0] == self._threads[1]


def put_back_tensors(saved: Iterable[tuple[Tensor, Tensor, int]]) -> None:
    """Put back what tensors held before a run wrote into them.

    Args:
        saved: Tensors with copies of their content, and how often they had been written.
    """
    with torch.no_grad():
        for tensor, content, version in saved:
            if is_hollow(tensor):
                continue
            tensor.detach().copy_(content)
            if not tensor.is_inference():
                set_version_counter(tensor, version)


def _owners(function: Any) -> list[Any]:
    """The object that a function belongs to, and its modules."""
    if is_module(function):
        return [function]
    owner = function.__self__ if type(function) is MethodType else function
    return [owner, *(root for _, root in roots_of(function))]


def _namespaces(function: Any, arguments: Sequence[Any]) -> list[dict[str, Any]]:
    """The namespaces of a function's modules, of the object that it belongs to, and of arguments."""
    found: dict[int, dict[str, Any]] = {}
    stack = _owners(function)
    stack += [a for a in arguments if not issubclass(type(a), Tensor)]
    script = torch.jit.ScriptModule
    attributes = object.__getattribute__
    while stack:
        owner = stack.pop()
        kind = type(owner)
        if issubclass(kind, nn.Module):
            if issubclass(kind, script):
                continue  # the state of a script is not in Python
            space = attributes(owner, "__dict__")
            if id(space) not in found and "_modules" in space:
                found[id(space)] = space
                stack += space["_modules"].values()
        elif not issubclass(kind, type | ModuleType) and (space := namespace_of(owner)):
            found[id(space)] = space
    return list(found.values())


def _others() -> tuple[Any, ...]:
    """How long each of the other threads has worked; never the same twice where that is not known."""
    if threading.active_count() == 1:
        return ()
    if sys.platform != "linux":
        return (object(),)
    mine = threading.get_ident()
    numbers = [t.native_id for t in threading.enumerate() if t.ident != mine]
    with suppress(OSError):
        # The kernel's clock of a thread stands still while that one sleeps.
        return tuple((n, time.clock_gettime((~n << 3) | 6)) for n in numbers if n is not None)
    return (object(),)
