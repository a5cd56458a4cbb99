"""What containers, cells of closures and arrays hold: a copy of it, and whether it is so still.

Only the base classes' own methods are called, and only identities compared: what a subclass or an
``__eq__`` does is the user's code.
"""

import sys
from array import array
from collections import OrderedDict, deque
from collections.abc import Iterable
from itertools import chain, islice
from operator import is_
from types import CellType, ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

CONTAINERS = (OrderedDict, dict, list, set, deque)
PLAIN = (int, float, complex, str, bytes)


class Limits(NamedTuple):
    """How much is noted of what a function holds."""

    depth: int  # in one another, from what modules and the function hold; tuples do not count
    many: int  # things with what they hold
    looked_at: int
    entered: int  # so many entries of a container are looked into
    length: int  # so many of one are noted; of a longer one its length
    size: int  # of an array, in bytes
    sizes: int  # of all arrays


THOROUGH = Limits(8, 3_000, 20_000, 2_000, 20_000, 16_000_000, 64_000_000)
"""Of a run that may be taken back: what is left out stays as that run left it."""
BRIEF = Limits(5, 200, 20_000, 1_000, 1_000, 1_000_000, 8_000_000)
"""Of the one run that a fast call makes."""
_OF_MODULES = frozenset(nn.Module().__dict__)
"""The attributes that every module keeps for itself, before its own."""
_NOTHING = frozenset((*PLAIN, bool, type(None), type, ModuleType))
_NOTHING |= {Tensor, nn.Parameter, torch.dtype, torch.device, torch.Size}
"""Things of these classes hold nothing further."""


class Binding(NamedTuple):
    """A name in a namespace, in a class, or among the slots of an object."""

    owner: Any
    name: str
    slot: Any = None

    def value(self) -> Any:
        """What the name is bound to; an error says that it is not."""
        if self.slot is not None:
            return self.slot.__get__(self.owner)
        return (self.owner if type(self.owner) is dict else self.owner.__dict__)[self.name]

    def bind(self, *value: Any) -> None:
        """Bind the name to a value, or to none."""
        owner, name, slot = self
        if type(owner) is dict:
            owner.pop(name, None)
            owner.update(zip((name,), value, strict=False))
        elif slot is None:
            type.__setattr__(owner, name, *value) if value else type.__delattr__(owner, name)
        else:
            slot.__set__(owner, *value) if value else slot.__delete__(owner)


class _Variable:
    """The value of a context variable, as if it were a slot of that."""

    def __get__(self, variable: Any, kind: Any = None) -> Any:
        return variable.get() if variable is not None else self

    def __set__(self, variable: Any, value: Any) -> None:
        variable.set(value)

    def __delete__(self, variable: Any) -> None:
        """Nobody can but who has the token: it stays."""


VARIABLE = _Variable()
NAMES = (CellType, Binding)
"""What stands for one value, or for none."""


def container_of(kind: type) -> Any:
    """The container that a class is one of, if it is."""
    return next(base for base in CONTAINERS if issubclass(kind, base))


def array_of(value: Any, largest: int) -> Any:
    """The kind of array that a value is, whose numbers can be noted; None for others, and larger ones."""
    kind = type(value)
    if issubclass(kind, bytearray):
        return bytearray if bytearray.__len__(value) <= largest else None
    if issubclass(kind, array):
        size = array.__len__(value) * array.itemsize.__get__(value)
        return array if size <= largest and array.typecode.__get__(value) != "u" else None
    numbers: Any = getattr(sys.modules.get("numpy"), "ndarray", None)
    if numbers is None or not issubclass(kind, numbers):
        return None
    of = numbers.dtype.__get__(value)
    # The memory of others holds objects, or what cannot be written.
    plain = of.kind in "?biufcmMSUV" and not of.hasobject
    writeable = numbers.flags.__get__(value).writeable
    return numbers if plain and writeable and numbers.nbytes.__get__(value) <= largest else None


def content_of(base: Any, held: Any) -> Any:
    """What a container holds: a copy that calls no code of the user's, not even of its keys."""
    if type(held) is dict:
        return held.copy()
    if base in CONTAINERS:
        return list(base.items(held) if issubclass(base, dict) else base.__iter__(held))
    if base in NAMES:
        try:
            return [held.cell_contents if base is CellType else held.value()]
        except (ValueError, AttributeError, LookupError):  # not bound
            return []
    return bytes(bytearray.copy(held) if base is bytearray else base.tobytes(held))


def content_or_length(base: Any, held: Any, longest: int) -> Any:
    """What a container holds, or how much where that is too much."""
    length: int = base.__len__(held)
    return content_of(base, held) if length < longest else length


def holds_nothing(value: Any) -> bool:
    """Whether a value is seen to hold nothing further that may change."""
    kind = type(value)
    return kind in _NOTHING or (kind is tuple and _NOTHING.issuperset(map(type, value)))


def holding(space: dict[str, Any]) -> list[tuple[str, Any]]:
    """The attributes that may hold something, without those that every module keeps for itself."""
    items: Any = None
    if "_buffers" in space:
        more = len(space) - len(_OF_MODULES)
        if not more:
            return []
        items = list(islice(reversed(space.items()), max(more, 0)))  # they come last, mostly
        if more < 0 or not _OF_MODULES.isdisjoint([name for name, _ in items]):
            items = [pair for pair in list(space.items()) if pair[0] not in _OF_MODULES]
    items = list(space.items()) if items is None else items
    return [pair for pair in items if type(pair[1]) not in _NOTHING and not holds_nothing(pair[1])]


def is_same(held: Any, base: Any, content: Any) -> bool:
    """Whether a container holds the very same things, in the same order, as far as is known."""
    if type(content) is int:
        return bool(base.__len__(held) == content)
    if type(content) is dict:
        if base.__len__(held) != len(content):
            return False
        return all(map(is_, held.values(), content.values())) and all(map(is_, held, content))
    if base in NAMES or type(content) is bytes:
        now = content_of(base, held)
        if base not in NAMES:
            return bool(now == content)
        return len(now) == len(content) and all(map(is_, now, content))
    if base.__len__(held) != len(content):
        return False
    if issubclass(base, dict):
        pairs = chain.from_iterable(base.items(held))
        return all(map(is_, pairs, chain.from_iterable(content)))
    return all(map(is_, base.__iter__(held), content))


def write(base: Any, held: Any, content: Any) -> None:
    """Put into a cell or an array what it held; an error says that others hold on to its memory."""
    if base is Binding:
        held.bind(*content)
    elif base is CellType:
        if content:
            held.cell_contents = content[0]
        else:
            del held.cell_contents
    else:
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


def values_in(base: Any, content: Any) -> Iterable[Any]:
    """What is in what a container held."""
    if type(content) in (bytes, int):
        return ()
    if type(content) is dict:
        return content.values()
    return [value for _, value in content] if issubclass(base, dict) else content


def content_now(base: Any, held: Any, before: Any) -> Any:
    """What something holds now, or how much where that was noted."""
    return base.__len__(held) if type(before) is int else content_of(base, held)


def numbers_in(content: Any) -> Any:
    """The numbers and the like in what a container, a namespace, a cell or an array holds, and how long a list is."""
    if type(content) in (bytes, int):
        return content
    is_space = type(content) is dict
    values = content.values() if is_space else content
    parts = chain.from_iterable(v if type(v) is tuple else (v,) for v in values)
    return is_space or len(content), [v for v in parts if type(v) in (*PLAIN, bool)]
