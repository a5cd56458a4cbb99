"""Sources of random numbers, of Python, NumPy and torch, and their states."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

_GENERATORS = ("Random", "Generator", "RandomState", "BitGenerator")
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
    bits = getattr(source, "bit_generator", source)
    write = lambda state: setattr(bits, "state", state)  # noqa: E731
    return Dice(write, lambda: bits.state, bits.state, is_shared)


def torchs_dice() -> list[Dice]:
    """Torch's own sources of random numbers, with the states that they have now."""
    generator: Any = torch.default_generator
    read: Any = generator.get_state
    found = [Dice(generator.set_state, read, read(), is_shared=False)]
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        read = torch.cuda.get_rng_state_all
        found.append(Dice(torch.cuda.set_rng_state_all, read, read(), is_shared=False))
    return found


def draws(kind: type) -> bool:
    """Whether a class is one of sources of random numbers."""
    return any(
        k.__name__ in _GENERATORS and k.__module__.partition(".")[0] in _LIBRARIES
        for k in kind.__mro__
    )


def comparable(state: Any) -> Any:
    """The state of a source of random numbers in a form of which two can be compared."""
    if isinstance(state, dict):
        return {name: comparable(value) for name, value in state.items()}
    if isinstance(state, list) or (isinstance(state, tuple) and len(state) < 10):
        return tuple(map(comparable, state))  # Python's own is a tuple of 625 numbers in another
    if isinstance(state, Tensor):
        state = state.numpy()
    return state.tobytes() if hasattr(state, "tobytes") else state
