"""State of the user's, put back when Captum's code is to follow.

Captum's code has to see the network as the caller left it, although the function has run once more.
Other threads may change the same objects meanwhile: what they did stays.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any

import torch

from captum_xdnn._torch import set_version_counter
from captum_xdnn.recording.contents import NAMES, by_key, content_of, is_same, write
from captum_xdnn.recording.places import names_in_code
from captum_xdnn.recording.snapshot import Change, Snapshot, owners_of
from captum_xdnn.recording.tensors import Saved, is_hollow, is_shown_as
from captum_xdnn.recording.ways import Nested


class Noted(Snapshot):
    """State noted before a run, as it is put back.

    Where no other thread has run since the beginning, all that differs is put back; else only what
    the run itself changed.
    """

    def put_back(self) -> None:
        """Put the attributes, the modules' classes and the random numbers back."""
        changes, alone = self._to_undo()
        for owner, kind in self._kinds if alone else ():
            if type(owner) is not kind:  # a parametrization makes another class of a module
                object.__setattr__(owner, "__class__", kind)
        for weight, was in self._turned() if alone else ():
            weight.requires_grad_(was)
        for change in changes:
            _undo(change)
            if alone and not is_same(*change[:3]):
                _refill(change)
        self._changes = []
        for dice in (*self._dice, *self._drawn):
            if dice.after is None:
                continue  # the run drew none: if others have, they must not draw them again
            moved = not dice.is_at(dice.before)
            mine = not dice.is_shared or self._undisturbed()
            if (moved and self._alone()) or (mine and dice.is_at(dice.after)):
                dice.write(dice.before)

    @contextmanager
    def drawing_again(self) -> Iterator[None]:
        """Let another run draw the random numbers that this one drew, unless other threads would draw them too."""
        dice = [d for d in (*self._dice, *self._drawn) if d.after is not None and d.is_at(d.after)]
        if not self._alone():
            dice = []
        for die in dice:
            die.write(die.before)
        try:
            yield
        finally:
            for die in dice:
                if die.is_at(die.before):
                    die.write(die.after)

    def _to_undo(self) -> tuple[list[Change], bool]:
        """What is to be put back, and whether it is all that has changed since the beginning."""
        self.close()
        every = self._differences()
        if self._alone():  # asked after looking: nobody has changed anything before that
            return every, True
        return self._of_the_run(), False

    def _of_the_run(self) -> list[Change]:
        """What the run itself changed.

        Whose a change is that was made while another thread ran nobody has seen: it counts as the
        run's where the network's code uses the name of a container, or binds that of an attribute.
        """
        changes = self._closed()
        if self._undisturbed() or not changes:
            return changes
        used, bound = names_in_code(self._function, owners_of(self._function))
        used.add("_buffers")
        names: dict[int, set[str]] = {}
        for held, _, _, is_space in self._held:
            for name, value in held.items() if is_space else ():
                names.setdefault(id(value), set()).add(name)
        nested = {id(n.held): n for n in self._nested}
        found: list[Change] = []
        for change in changes:
            within = nested.get(id(change.held))
            if within is not None and within.way.owners:
                found += _if_used(change, within, used, bound)
            elif change.is_space:
                found.append(_of_names(bound, change))
            elif used & names.get(id(change.held), used):
                found.append(change)
        return found


def put_back_tensors(saved: Iterable[Saved]) -> None:
    """Put back what tensors held before a run wrote into them, and how often they had been written."""
    with torch.no_grad():
        for tensor, content, version, form in saved:
            if not is_hollow(tensor) and not is_hollow(form):
                if not is_shown_as(tensor, form):
                    tensor.data = form  # the memory it had, in the form it had
                tensor.detach().copy_(content)
                if not tensor.is_inference():
                    set_version_counter(tensor, version)


def _if_used(change: Change, within: Nested, used: set[str], bound: set[str]) -> list[Change]:
    """A change further within, where the code on the way uses all names of that."""
    words, binds = within.way.used_and_bound()
    if not (used | words).issuperset(within.way.names):
        return []
    if change.is_space:
        return [_of_names(bound | binds, change)]
    return [] if within.name and not within.is_bound() else [change]


def _of_names(bound: set[str], change: Change) -> Change:
    """A change of a namespace as if the run had changed only what its code binds."""
    others = {name: value for name, value in change.before.items() if name not in bound}
    its = {name: value for name, value in change.after.items() if name in bound}
    return change._replace(after={**others, **its})


def _undo(change: Change) -> None:
    """Take back what a run did to a container, where it still is as the run left it."""
    held, base, before, after, _ = change
    if type(before) is int:
        if is_same(held, base, after):
            _shorten(held, base, after - before)
    elif base in NAMES or type(after) is bytes:
        if is_same(held, base, after):
            _write(held, base, before)
    elif issubclass(base, dict):
        _undo_keys(held, base, by_key(before), by_key(after))
    elif base is set:
        now = set(map(id, set.__iter__(held)))
        for item in _without(after, before):
            set.discard(held, item)
        for item in _without(before, after):
            if id(item) not in now:
                set.add(held, item)
    else:
        _undo_items(held, base, before, after)


def _shorten(held: Any, base: Any, more: int) -> None:
    """Take what a container has got more of out of its end; a set has none."""
    if issubclass(base, dict):
        for key in list(islice(base.__reversed__(held), max(more, 0))):
            base.__delitem__(held, key)
    elif base is not set:
        for _ in range(more):
            base.pop(held)


def _undo_keys(
    held: Any, base: Any, before: dict[int, tuple[Any, Any]], after: dict[int, tuple[Any, Any]]
) -> None:
    now, none = by_key(content_of(base, held)), (None, None)
    for address, (key, value) in after.items():
        was = before.get(address, none)
        if (was is not none and was[1] is value) or now.get(address, (0, before))[1] is not value:
            continue  # the run did not change it, or somebody else has since
        if was is none:
            base.__delitem__(held, key)
        else:
            base.__setitem__(held, key, was[1])
    for address, (key, value) in before.items():
        if address not in after and address not in now:
            base.__setitem__(held, key, value)


def _undo_items(held: Any, base: Any, before: list[Any], after: list[Any]) -> None:
    now = list(base.__iter__(held))
    if base is list and is_same(now[: len(after)], list, after):
        list.__setitem__(held, slice(0, len(after)), before)  # what follows came later
    elif is_same(now, list, after):
        deque.clear(held)
        deque.extend(held, before)
    else:
        added = list(map(id, _without(after, before)))
        for index in range(len(now) - 1, -1, -1):
            if id(now[index]) in added:
                added.remove(id(now[index]))
                base.__delitem__(held, index)


def _refill(change: Change) -> None:
    """Bring a dictionary, of which nobody else has changed anything, into its order again."""
    held, base, before, _, _ = change
    if issubclass(base, dict) and type(before) is not int:
        base.clear(held)
        for key, value in by_key(before).values():
            base.__setitem__(held, key, value)


def _write(held: Any, base: Any, before: Any) -> None:
    with suppress(ValueError, BufferError):  # an array that cannot be written by now
        write(base, held, before)


def _without(items: list[Any], others: list[Any]) -> list[Any]:
    """Of some items those that are no others, each as often as it is there more often."""
    left = [id(other) for other in others]
    found = []
    for item in items:
        if id(item) in left:
            left.remove(id(item))
        else:
            found.append(item)
    return found
