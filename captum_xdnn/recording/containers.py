"""Containers of the user's: what a run changed in them, and how that is taken back.

Only the base classes' own methods are called, and only identities compared: what a subclass or an
``__eq__`` does is the user's code.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from itertools import chain
from operator import is_
from typing import Any, NamedTuple

CONTAINERS = (OrderedDict, dict, list, set, deque)
PLAIN = (int, float, complex, str, bytes)


class Change(NamedTuple):
    """A container, or a namespace, that holds something else after a run than before it."""

    held: Any
    base: Any
    before: Any
    after: Any


def content_of(base: Any, held: Any) -> Any:
    """What a container holds: a copy that calls no code of the user's, not even of its keys."""
    if type(held) is dict:
        return held.copy()
    return list(base.items(held) if issubclass(base, dict) else base.__iter__(held))


def values_of(change: Change) -> Iterable[Any]:
    """What a container held before the run."""
    if not issubclass(change.base, dict):
        return change.before  # type: ignore[no-any-return]
    return [value for _, value in by_key(change.before).values()]


def is_same(held: Any, base: Any, content: Any) -> bool:
    """Whether a container holds the very same things, in the same order."""
    if type(content) is dict:
        return is_same_table(held, content)
    if base.__len__(held) != len(content):
        return False
    if issubclass(base, dict):
        pairs = chain.from_iterable(base.items(held))
        return all(map(is_, pairs, chain.from_iterable(content)))
    return all(map(is_, base.__iter__(held), content))


def is_same_table(held: dict[Any, Any], content: dict[Any, Any]) -> bool:
    """The same of a plain dictionary."""
    return (
        len(held) == len(content)
        and all(map(is_, held.values(), content.values()))
        and all(map(is_, held, content))
    )


def only(used: set[str], before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What a namespace would hold after the run if that had changed only what its code names."""
    others = {name: value for name, value in before.items() if name not in used}
    return {**others, **{name: value for name, value in after.items() if name in used}}


def undo(change: Change) -> None:
    """Take back what a run did to a container, where it still is as the run left it."""
    held, base, before, after = change
    if issubclass(base, dict):
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


def refill(change: Change) -> None:
    """Bring a dictionary, of which nobody else has changed anything, into its order again."""
    held, base, before, _ = change
    if issubclass(base, dict):
        base.clear(held)
        for key, value in by_key(before).values():
            base.__setitem__(held, key, value)


def by_key(content: Any) -> dict[int, tuple[Any, Any]]:
    """The pairs of a dictionary by the address of the key: comparing keys is the user's code."""
    return {id(pair[0]): pair for pair in (content.items() if type(content) is dict else content)}


def plain_pairs(content: Any) -> dict[int, tuple[Any, Any]]:
    """The pairs of a dictionary whose value is a number or the like."""
    pairs = by_key(content).items()
    return {address: pair for address, pair in pairs if issubclass(type(pair[1]), PLAIN)}


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
