"""Sources of random numbers that are not torch's: Python's and NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

_GENERATORS = ("Random", "Generator", "RandomState")
_LIBRARIES = ("random", "numpy", "torch")


class Dice(NamedTuple):
    """A source of random numbers: how to read and write its state; before a run, and after it."""

    write: Callable[[Any], None]
    read: Callable[[], Any]
    before: Any
    is_shared: bool
    after: Any = None

    def is_at(self, state: Any) -> bool:
        """Whether this is its state now."""
        return bool(comparable(self.read()) == comparable(state))


def dice_of(source: Any, *, is_shared: bool) -> Dice:
    """A source of random numbers, with the state that it has now."""
    for setter, getter in (("setstate", "getstate"), ("set_state", "get_state")):
        if hasattr(source, getter):
            read = getattr(source, getter)
            return Dice(getattr(source, setter), read, read(), is_shared)
    bits = source.bit_generator
    write = lambda state: setattr(bits, "state", state)  # noqa: E731
    return Dice(write, lambda: bits.state, bits.state, is_shared)


def draws(kind: type) -> bool:
    """Whether a class is one of sources of random numbers, of Python, NumPy or torch."""
    return any(
        k.__name__ in _GENERATORS and k.__module__.partition(".")[0] in _LIBRARIES
        for k in kind.__mro__
    )


def comparable(state: Any) -> Any:
    """The state of a source of random numbers in a form of which two can be compared."""
    if isinstance(state, dict):
        return {name: comparable(value) for name, value in state.items()}
    if isinstance(state, tuple) and len(state) < 10:
        return tuple(map(comparable, state))
    return state.tolist() if hasattr(state, "tolist") else state
