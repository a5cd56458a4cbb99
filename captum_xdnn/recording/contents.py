"""What containers, cells of closures and arrays hold: a copy of it, and whether it is so still.

Only the base classes' own methods are called, and only identities compared: what a subclass or an
``__eq__`` does is the user's code.
"""

import sys
from array import array
from collections import OrderedDict, deque
from itertools import chain
from operator import is_
from types import CellType
from typing import Any

CONTAINERS = (OrderedDict, dict, list, set, deque)
PLAIN = (int, float, complex, str, bytes)
LARGE = 1000
"""Larger containers are vocabularies, not state."""
_BYTES = 1_000_000
"""Larger arrays are data, not state."""


def container_of(kind: type) -> Any:
    """The container that a class is one of, if it is."""
    return next(base for base in CONTAINERS if issubclass(kind, base))


def array_of(value: Any) -> Any:
    """The kind of array that a value is, whose numbers can be noted; None for others, and large ones."""
    kind = type(value)
    if issubclass(kind, bytearray):
        return bytearray if bytearray.__len__(value) <= _BYTES else None
    if issubclass(kind, array):
        size = array.__len__(value) * array.itemsize.__get__(value)
        return array if size <= _BYTES and array.typecode.__get__(value) != "u" else None
    numbers: Any = getattr(sys.modules.get("numpy"), "ndarray", None)
    if numbers is None or not issubclass(kind, numbers):
        return None
    of = numbers.dtype.__get__(value)
    # The memory of others holds objects, or what cannot be written.
    plain = of.kind in "?biufcmMSUV" and not of.hasobject
    writeable = numbers.flags.__get__(value).writeable
    return numbers if plain and writeable and numbers.nbytes.__get__(value) <= _BYTES else None


def content_of(base: Any, held: Any) -> Any:
    """What a container holds: a copy that calls no code of the user's, not even of its keys."""
    if type(held) is dict:
        return held.copy()
    if base in CONTAINERS:
        return list(base.items(held) if issubclass(base, dict) else base.__iter__(held))
    if base is CellType:
        try:
            return [held.cell_contents]
        except ValueError:  # not bound
            return []
    return bytes(bytearray.copy(held) if base is bytearray else base.tobytes(held))


def is_same(held: Any, base: Any, content: Any) -> bool:
    """Whether a container holds the very same things, in the same order."""
    if type(content) is dict:
        if base.__len__(held) != len(content):
            return False
        return all(map(is_, held.values(), content.values())) and all(map(is_, held, content))
    if base is CellType or type(content) is bytes:
        now = content_of(base, held)
        if base is not CellType:
            return bool(now == content)
        return len(now) == len(content) and all(map(is_, now, content))
    if base.__len__(held) != len(content):
        return False
    if issubclass(base, dict):
        pairs = chain.from_iterable(base.items(held))
        return all(map(is_, pairs, chain.from_iterable(content)))
    return all(map(is_, base.__iter__(held), content))


def write(base: Any, held: Any, content: Any) -> None:
    """Put into a cell or an array what it held; not into an array that has got another size."""
    if base is CellType:
        if content:
            held.cell_contents = content[0]
        else:
            del held.cell_contents
    elif len(content_of(base, held)) == len(content):  # others may hold on to its memory
        place: Any = slice(None)
        if base is array:
            content = array(array.typecode.__get__(held), content)
        elif base is not bytearray:
            numbers = sys.modules["numpy"].frombuffer(content, dtype=base.dtype.__get__(held))
            place, content = ..., numbers.reshape(base.shape.__get__(held))
        base.__setitem__(held, place, content)


def by_key(content: Any) -> dict[int, tuple[Any, Any]]:
    """The pairs of a dictionary by the address of the key: comparing keys is the user's code."""
    return {id(pair[0]): pair for pair in (content.items() if type(content) is dict else content)}
