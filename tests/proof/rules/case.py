"""A case: an operation, the motions of its operands, and the motion that its rule must find.

Operands are written as values (``real(3, 4)``, ``index(2, below=3)``) among the operation's own
arguments. A table says what comes out of which motions, one letter or degree for each operand:

====  ===========================================================================
 F    fixed
 Z    fixed and zero
 A    affine: known at the baseline and not zero there
 k    homogeneous of degree ``k``, such as ``1``, ``-1/2`` or ``0``
====  ===========================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from captum_xdnn.proof.domain import FIXED, Affine, Motion, Power


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor operand: its shape and how to draw it."""

    shape: tuple[int, ...]
    draw: Callable[[torch.Generator, tuple[int, ...]], Tensor]

    def drawn(self, generator: torch.Generator) -> Tensor:
        return self.draw(generator, self.shape)


def _shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape or (3, 4)


def real(*shape: int) -> Value:
    return Value(
        _shape(shape), lambda g, s: torch.randn(s, generator=g, dtype=torch.float64).contiguous()
    )


def scalar() -> Value:
    return Value((), lambda g, s: torch.randn(s, generator=g, dtype=torch.float64))


def positive(*shape: int) -> Value:
    return Value(
        _shape(shape), lambda g, s: torch.rand(s, generator=g, dtype=torch.float64) * 1.5 + 0.5
    )


def wide(*shape: int) -> Value:
    return Value(_shape(shape), lambda g, s: 6 * torch.randn(s, generator=g, dtype=torch.float64))


def share(*shape: int) -> Value:
    """Numbers from 0 to 1."""
    return Value(_shape(shape), lambda g, s: torch.rand(s, generator=g, dtype=torch.float64))


def coarse(*shape: int) -> Value:
    """Whole numbers from -2 to 2, among which there are ties."""
    return Value(_shape(shape), lambda g, s: torch.randint(-2, 3, s, generator=g).to(torch.float64))


def imaginary(*shape: int) -> Value:
    return Value(_shape(shape), lambda g, s: torch.randn(s, generator=g, dtype=torch.complex128))


def index(*shape: int, below: int) -> Value:
    return Value(shape, lambda g, s: torch.randint(0, below, s, generator=g))


def mask(*shape: int) -> Value:
    return Value(_shape(shape), lambda g, s: torch.randint(0, 2, s, generator=g).bool())


@dataclass(frozen=True)
class Refused:
    """No motion is claimed, for a reason.

    Attributes:
        reason: A part of the reason that people are told.
        cautious: Whether a motion exists all the same, which the rule cannot know of.
    """

    reason: str
    cautious: bool = False


def refused(reason: str) -> Refused:
    return Refused(reason)


def cautious(reason: str) -> Refused:
    return Refused(reason, cautious=True)


Expected = str | Refused


@dataclass(frozen=True, eq=False)
class Case:
    """One call of one operation, and what its rule says for several motions of the operands.

    Attributes:
        op: Full name of the overload.
        table: Motions of the operands, and the expected motion of each result.
        args: Positional arguments, with values in place of tensors.
        kwargs: Keyword arguments.
        via: What to call in place of the overload, to reach it on the way.
        by_hand: Whether tracing never yields this overload, so that the graph is made by hand.
    """

    op: str
    table: dict[str, Expected]
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    via: Callable[..., Any] | None = None
    by_hand: bool = False

    @property
    def values(self) -> list[Value]:
        leaves = pytree.tree_leaves((self.args, self.kwargs))
        return [leaf for leaf in leaves if isinstance(leaf, Value)]

    @property
    def overload(self) -> Any:
        return reduce(getattr, self.op.split("."), torch.ops)

    def exists(self) -> bool:
        """Whether this release of torch has the overload."""
        try:
            return bool(self.overload)
        except AttributeError:
            return False

    def call(self, operands: Any, function: Callable[..., Any] | None = None) -> Any:
        """Call with these operands in place of the values."""
        args, kwargs = self.filled(operands)
        return (function or self.via or self.overload)(*args, **kwargs)

    def filled(self, operands: Any) -> tuple[Any, Any]:
        left = iter(operands)

        def fill(leaf: Any) -> Any:
            return next(left) if isinstance(leaf, Value) else leaf

        return pytree.tree_map(fill, (self.args, self.kwargs))

    def rows(self) -> Iterator[tuple[str, Expected]]:
        return iter(self.table.items())


def case(
    op: str,
    *args: Any,
    table: dict[str, Expected],
    via: Callable[..., Any] | None = None,
    by_hand: bool = False,
    **kwargs: Any,
) -> Case:
    return Case(op, table, args, kwargs, via, by_hand)


def motion(letter: str) -> Motion:
    if letter in ("F", "Z"):
        return FIXED
    return Affine() if letter == "A" else Power(Fraction(letter))


class Ray:
    """The operands of one row as functions of the place ``a`` on the ray, for several inputs."""

    INPUTS = 3

    def __init__(self, values: list[Value], letters: list[str], seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.letters = letters
        self._start = [value.drawn(generator) for value in values]
        self._ends = [[value.drawn(generator) for value in values] for _ in range(self.INPUTS)]

    def at(self, a: float, draw: int = 0) -> list[Tensor]:
        """The operands for one of the inputs; ``a = 0`` is the limit, where it exists."""
        return [
            self._value(letter, start, end, a)
            for letter, start, end in zip(self.letters, self._start, self._ends[draw], strict=True)
        ]

    def has_limit(self) -> bool:
        return all(letter in "FZA" or Fraction(letter) > 0 for letter in self.letters)

    @staticmethod
    def _value(letter: str, start: Tensor, end: Tensor, a: float) -> Tensor:
        if letter == "F":
            return start
        if letter == "Z":
            return torch.zeros_like(start)
        if letter == "A":
            return start + a * (end - start)
        degree = float(Fraction(letter))
        if a == 0 and degree < 0:
            return torch.full_like(end, torch.nan)
        return end if degree == 0 else end * a**degree


def results(outcome: Any) -> list[Tensor]:
    return list(outcome) if isinstance(outcome, tuple | list) else [outcome]


def wanted(expected: str) -> tuple[Motion, ...]:
    return tuple(motion(letter.strip()) for letter in expected.split(","))
