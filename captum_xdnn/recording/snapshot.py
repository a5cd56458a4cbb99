"""State of the user's before a run and after it: attributes, containers, random numbers.

Only the base classes' own methods are called, and only identities compared: what a subclass or an
``__eq__`` does is the user's code.
"""

import random
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from operator import itemgetter, methodcaller
from types import MethodType, ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from captum_xdnn.recording.contents import (
    BRIEF,
    CONTAINERS,
    NAMES,
    PLAIN,
    THOROUGH,
    container_of,
    content_now,
    content_of,
    content_or_length,
    holding,
    is_same,
    numbers_in,
    values_in,
)
from captum_xdnn.recording.nested import Search
from captum_xdnn.recording.places import is_module, namespace_of, roots_of
from captum_xdnn.recording.random_state import Dice, comparable, dice_of, draws
from captum_xdnn.recording.threads import others_work
from captum_xdnn.recording.ways import Nested, Way

_TABLES = tuple(n for n, held in nn.Module().__dict__.items() if isinstance(held, CONTAINERS))
"""Those of them that are containers: parameters, buffers, modules, hooks of all kinds."""
_tables_of = itemgetter(*_TABLES)
_WEIGHTS = methodcaller("get", "_parameters")


class Change(NamedTuple):
    """A container, or a namespace, that holds something else after a run than before it."""

    held: Any
    base: Any
    before: Any
    after: Any
    is_space: bool


class Snapshot:
    """The attributes of a function's modules at one time, and Python's random numbers.

    What a run has changed is noted right after it (``close``). The random numbers of Python and
    NumPy themselves are noted unless the function is ``calm``: known to draw none with its modules
    in the modes that they are in (``modes``). Those that an attribute holds are noted always. ``thorough``
    says whether the run may be taken back: then more is looked at.
    """

    def __init__(
        self,
        function: Callable[..., Any] | None,
        arguments: Sequence[Any] = (),
        *,
        calm: list[Any] | None = None,
        thorough: bool = True,
    ) -> None:
        self._function, self._is_thorough = function, thorough
        self._threads = [others_work()]
        self._changes: list[Change] | None = None
        self._dice: list[Dice] = []
        self._sources: set[int] = set()
        self._drawn: list[Dice] = []
        owners = _namespaces(function, arguments)
        spaces = [space for _, space in owners]
        self._kinds = [(owner, type(owner)) for owner, space in owners if "_buffers" in space]
        self._modules = [space for space in spaces if "_buffers" in space]
        self._held: list[tuple[Any, Any, Any, bool]] = [
            (space, dict, space.copy(), True) for space in spaces
        ]
        for value in arguments:
            self._note(value, type(value))
        holders = [(owner, space, holding(space)) for owner, space in owners]
        for _, _, attributes in holders:
            for _, value in attributes:
                self._note(value, type(value))
        tables = self._tables()
        self._filled = set(map(id, tables))
        for table in tables:
            self._note(table, type(table))
        weights = chain.from_iterable([t.values() for t in map(_WEIGHTS, spaces) if t])
        self._graded = [(w, w.requires_grad) for w in weights if type(w) is nn.Parameter]
        self.modes = [space.get("training") for space in self._modules]
        if self.modes != calm:
            # NumPy imports its own when it is first asked for; nobody has drawn from it before.
            shared = (random, sys.modules.get("numpy.random"))
            self._dice += [dice_of(source, is_shared=True) for source in shared if source]
        self._nested: list[Nested] = []
        self._look_deeper(holders, arguments)

    def _look_deeper(self, holders: list[tuple[Any, Any, Any]], arguments: Sequence[Any]) -> None:
        search = Search({id(held) for held, _, _, _ in self._held}, thorough=self._is_thorough)
        search.look(self._function, holders, arguments)
        self._nested = search.found
        self._kinds += [(module, type(module)) for module, _ in search.modules]
        self._modules += [space for _, space in search.modules]
        for table in self._tables() if search.modules else ():
            if id(table) not in self._filled:
                self._filled.add(id(table))
                base = container_of(type(table))
                self._nested.append(Nested(table, base, content_of(base, table), False, Way(), ""))
        # The one behind the functions of a module is noted with that.
        known = self._sources | {id(getattr(dice.write, "__self__", dice)) for dice in self._dice}
        for source in search.sources:
            if id(source) not in known:
                with suppress(Exception):  # one of the system's has no state
                    self._dice.append(dice_of(source, is_shared=True))

    def _note(self, value: Any, kind: type) -> None:
        if issubclass(kind, CONTAINERS):
            base = container_of(kind)
            longest = (THOROUGH if self._is_thorough else BRIEF).length
            self._held.append((value, base, content_or_length(base, value, longest), False))
        elif draws(kind):
            self._sources.add(id(value))
            with suppress(Exception):  # one of the system's has no state
                self._dice.append(dice_of(value, is_shared=False))

    def close(self, drawn: Iterable[Dice] = ()) -> None:
        """Note what the run has changed, right after it; what comes later is not the run's.

        The run was seen to draw from further sources of random numbers.
        """
        if self._changes is None:
            self._drawn = [d if d.after is not None else d._replace(after=d.read()) for d in drawn]
            self._changes = self._differences()
            for index, dice in enumerate(self._dice):
                state = dice.read()
                if comparable(state) != comparable(dice.before):
                    self._dice[index] = dice._replace(after=state)
            self._threads.append(others_work())

    def _differences(self) -> list[Change]:
        """The namespaces and the containers that hold something else now."""
        return [
            Change(held, base, before, content_now(base, held, before), is_space)
            for held, base, before, is_space in chain(self._noted(), self._filled_since())
            if not is_same(held, base, before)
        ]

    def _noted(self) -> Iterable[tuple[Any, Any, Any, bool]]:
        return chain(self._held, [n[:4] for n in self._nested]) if self._nested else self._held

    def _tables(self) -> list[Any]:
        """What the modules keep in containers of their own, as far as there is anything in them."""
        try:
            return [*filter(None, chain.from_iterable(map(_tables_of, self._modules)))]
        except KeyError:  # a module that has taken one of them away
            return [table for space in self._modules for n in _TABLES if (table := space.get(n))]

    def _filled_since(self) -> Iterator[tuple[Any, Any, Any, bool]]:
        """The modules' own containers that were empty and are not any more."""
        for table in self._tables():
            if id(table) not in self._filled:
                base = container_of(type(table))
                yield table, base, {} if type(table) is dict else [], False

    def _turned(self) -> list[tuple[Tensor, bool]]:
        """Parameters of which another kind of run would record gradients now, with how it was."""
        return [(weight, was) for weight, was in self._graded if weight.requires_grad is not was]

    def _closed(self) -> list[Change]:
        self.close()
        return self._changes or []

    def replaced(self) -> set[int]:
        """The addresses of what was held where something else is held after the run."""
        gone: list[Any] = []
        for _, base, before, after, is_space in self._closed():
            if is_space:
                lost = [v for n, v in before.items() if after.get(n, self) is not v]
                gone += chain(lost, *(tuple.__iter__(v) for v in lost if _is(v, tuple)))
            else:
                gone += values_in(base, before)
        return set(map(id, gone))

    def brought(self) -> set[int]:
        """The addresses of what is held after the run where it was not held before."""
        found: set[int] = set()
        for _, base, before, after, _ in self._closed():
            was = set(map(id, values_in(base, before)))
            found.update(a for v in values_in(base, after) if (a := id(v)) not in was)
        return found

    def plain_changed(self) -> bool:
        """Whether an attribute, or a cell, changed that held a number or the like."""
        changes = self._closed()
        return any(
            after.get(n) is not v and _is(v, PLAIN)
            for _, _, before, after, is_space in changes
            if is_space
            for n, v in before.items()
        ) or any(base in NAMES and _is([*b, None][0], PLAIN) for _, base, b, _, _ in changes)

    def counted(self) -> bool:
        """Whether a number or the like is another one after the run, or a list has grown, wherever that is held."""
        return any(numbers_in(c.before) != numbers_in(c.after) for c in self._closed())

    def changed(self) -> bool:
        """Whether anything that was noted has changed."""
        return bool(self._closed() or self._turned())

    def rolled(self) -> bool:
        """Whether random numbers were drawn, of those whose state is noted."""
        self.close()
        return any(dice.after is not None for dice in self._dice)

    def drawn(self) -> bool:
        """Whether operations of torch drew random numbers, also where nothing came of them."""
        self.close()
        # Inside of ``fork_rng`` a run sets a seed, draws and puts the state back itself.
        return any(d.is_shared or comparable(d.before) != comparable(d.after) for d in self._drawn)

    def holds(self, tensor: Tensor) -> bool:
        """Whether a tensor is an attribute or a buffer, of what is noted of every run."""
        parameters = {id(space.get("_parameters")) for space in self._modules}
        held = [h for h in self._held if id(h[0]) not in parameters]
        tables = [h if space else before for h, _, before, space in held]
        return any(v is tensor for t in tables if type(t) is dict for v in t.values())

    def tensors(self) -> Iterator[Tensor]:
        """The tensors that namespaces and containers held at the beginning."""
        values = chain.from_iterable(values_in(base, b) for _, base, b, _ in self._noted())
        return (value for value in values if isinstance(value, Tensor))

    def _alone(self) -> bool:
        """Whether no other thread has run since the beginning."""
        return self._threads[0] == others_work()

    def _undisturbed(self) -> bool:
        """Whether no other thread ran while the function did."""
        return self._threads[0] == self._threads[1]


def _is(value: Any, kinds: Any) -> bool:
    return issubclass(type(value), kinds)


def owners_of(function: Any) -> list[Any]:
    """The object that a function belongs to, and its modules."""
    if is_module(function):
        return [function]
    owner = function.__self__ if type(function) is MethodType else function
    return [owner, *(root for _, root in roots_of(function))]


def _namespaces(function: Any, arguments: Sequence[Any]) -> list[tuple[Any, dict[str, Any]]]:
    """A function's modules, the object that it belongs to, and arguments, with their namespaces."""
    found: dict[int, tuple[Any, dict[str, Any]]] = {}
    stack = owners_of(function)
    stack += [a for a in arguments if not _is(a, Tensor)]
    script, attributes = torch.jit.ScriptModule, object.__getattribute__
    while stack:
        owner = stack.pop()
        kind = type(owner)
        if issubclass(kind, nn.Module):
            if issubclass(kind, script):
                continue  # the state of a script is not in Python
            space = attributes(owner, "__dict__")
            # The first pass of a lazy module makes another one of it, which nobody can undo.
            if id(space) not in found and "_modules" in space and "_initialize_hook" not in space:
                found[id(space)] = owner, space
                stack += space["_modules"].values()
        elif not issubclass(kind, type | ModuleType) and (space := namespace_of(owner)):
            found[id(space)] = owner, space
    return list(found.values())
