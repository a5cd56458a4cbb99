"""A function that a setting bends: what the changes between two calls are made with."""

from __future__ import annotations

from typing import Any

import torch
from comparing import linear
from torch import Tensor

CHANGES: dict[str, Any] = {}
WIDE = torch.float64


def change(make: Any) -> Any:
    CHANGES[make.__name__] = make
    return make


def scaled(read: Any) -> Any:
    """A function that multiplies by a setting, and bends by it: at 0 nothing is added."""
    first, last = linear(8), linear(2, seed=1, width=8)
    return lambda x: last(first(x).relu() * read())


def shifted(read: Any) -> Any:
    """A function whose setting decides whether it is homogeneous."""
    first, last = linear(8), linear(2, seed=1, width=8)
    return lambda x: last((first(x) + read()).relu())


def of_holder(holder: Any, name: str = "value") -> Any:
    """Two functions in one: what the attribute holds scales and shifts."""
    first, last = linear(8), linear(2, seed=1, width=8)

    def function(x: Tensor) -> Tensor:
        value = getattr(holder, name)
        return last((first(x) * (1.0 + value) + value).relu())

    setattr(holder, name, 0.0)
    return function, lambda: setattr(holder, name, 0.7)
