"""Functions that are made of another one: with a layer's values put in, read off, or shifted.

What is remembered of them is kept with the function that they are made of, and is gone when that
one is gone; so an object of this class may be made anew at every call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from torch import nn

from captum_xdnn.recording.places import MadeOfAnother


class Derived(MadeOfAnother, ABC):
    """A function made of a base function and some of its layers."""

    def __init__(self, base: Callable[..., Any], layers: Sequence[nn.Module]) -> None:
        self.base = base
        self.layers = tuple(layers)

    @property
    def key(self) -> Hashable:
        """Tells it from other functions that are made of the same one."""
        return (type(self), tuple(map(id, self.layers)), self.settings())

    @abstractmethod
    def settings(self) -> tuple[Any, ...]:
        """What it is made with beside the base function and the layers."""

    @abstractmethod
    def __call__(self, *args: Any) -> Any:
        """Compute it."""


def root_of(function: Any) -> Any:
    """The function that a function is made of in the end."""
    while issubclass(
        type(function), MadeOfAnother
    ):  # by the type: a mock may say that it is anything
        function = function.base
    return function
