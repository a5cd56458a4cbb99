"""Random programs, one step at a time: what a step is, and how the next one is chosen.

All numbers are multiples of small powers of two, so that float64 computes the linear parts of a
program without rounding: a law that fails, fails for a reason.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

LARGEST = 1e6
MOST_ENTRIES = 400
UNREST = (0, 2, 5, 12)
"""In how many of 100 decisions a program may break a law."""

EVERYWHERE = "networks affine algebra selection"
"""All themes."""

Compute = Callable[..., Tensor]
Made = tuple[str, Compute]
Recipe = Callable[..., Made]


@dataclass(frozen=True)
class Kind:
    """A kind of step.

    Attributes:
        name: Its name.
        recipe: Takes the maker and the source tensors; gives a description and a function.
        arity: How many sources it takes; two sources have one shape.
        needs: Whether it can be applied to these sources.
        themes: The themes to which it belongs.
        breaks: Whether it keeps no law, so that it may not be frequent.
    """

    name: str
    recipe: Recipe
    arity: int
    needs: Callable[..., bool]
    themes: frozenset[str]
    breaks: bool


KINDS: dict[str, Kind] = {}


def kind(
    name: str,
    themes: str,
    *,
    arity: int = 1,
    needs: Callable[..., bool] = lambda *_: True,
    breaks: bool = False,
) -> Callable[[Recipe], Recipe]:
    """Register a recipe under a name; ``themes`` are separated by blanks."""

    def register(recipe: Recipe) -> Recipe:
        if name in KINDS:
            message = f"there are two kinds named {name}"
            raise ValueError(message)
        KINDS[name] = Kind(name, recipe, arity, needs, frozenset(themes.split()), breaks)
        return recipe

    return register


def plain(
    name: str, themes: str, compute: Compute, *, arity: int = 1, breaks: bool = False
) -> None:
    """Register a step that decides nothing: its name says it all."""
    kind(name, themes, arity=arity, breaks=breaks)(lambda make, *_: (name, compute))


@dataclass(frozen=True)
class Step:
    """One step: a function of earlier tensors."""

    kind: str
    text: str
    sources: tuple[int, ...]
    compute: Compute


@dataclass
class Program:
    """A function of tensors, made of steps, and what to call it with.

    Attributes:
        inputs: Inputs on a coarse grid, which makes ties likely.
        baselines: A baseline for each input: a number or a tensor.
        arguments: Additional arguments.
        target: The explained output column; None where there is one output per example.
        steps: The steps; tensors count from 0: inputs, tensors among the arguments, results.
        cut: Whether a gradient is cut (``detach``, ``no_grad``), so that completeness may fail.
        rough: Whether a part is computed in less than float64.
        seed: Of its constants.
    """

    inputs: tuple[Tensor, ...]
    baselines: tuple[Any, ...]
    arguments: tuple[Any, ...]
    target: int | None = None
    steps: list[Step] = field(default_factory=list)
    cut: bool = False
    rough: bool = False
    seed: int = 0

    def __call__(self, *given: Any) -> Tensor:
        """Run it."""
        values: list[Any] = list(given)
        for step in self.steps:
            values.append(step.compute(*(values[i] for i in step.sources)))
        return values[-1]

    @property
    def kinds(self) -> set[str]:
        """The kinds of its steps."""
        return {step.kind for step in self.steps}

    def __repr__(self) -> str:
        given = len(self.inputs) + len(self.arguments)
        lines = [f"  t{i}: input {tuple(x.shape)}" for i, x in enumerate(self.inputs)]
        lines += [f"  t{len(self.inputs) + i}: argument {a}" for i, a in enumerate(self.arguments)]
        lines += [
            f"  t{given + i} = {s.text} of {', '.join(f't{j}' for j in s.sources)}"
            for i, s in enumerate(self.steps)
        ]
        return "\n".join([f"program, seed {self.seed}, target {self.target}:", *lines])


class Maker:
    """Makes the decisions of one program, by its seed.

    Args:
        theme: The theme.
        program: The program so far.
    """

    def __init__(self, theme: str, program: Program) -> None:
        self._dice = random.Random(program.seed)
        self._unrest = self._dice.choice(UNREST)
        self.theme = theme
        self.program = program
        self.generator = torch.Generator().manual_seed(program.seed)
        self.values: list[Any] = [*program.inputs, *program.arguments]

    def integer(self, least: int, most: int) -> int:
        """An integer in a closed range."""
        return self._dice.randint(least, most)

    def one_of(self, *options: Any) -> Any:
        """One of the options."""
        return options[self.integer(0, len(options) - 1)]

    def breaks(self) -> bool:
        """Whether to break a law here."""
        return self.integer(0, 99) < self._unrest

    def weights(self, *shape: int) -> Tensor:
        """Multiples of 1/8 in [-1.5, 1.5]."""
        drawn = torch.randint(-12, 13, shape, generator=self.generator)
        return drawn.to(torch.float64) / 8

    def positive(self, *shape: int) -> Tensor:
        """Powers of two between 1/4 and 4."""
        drawn = torch.randint(-2, 3, shape, generator=self.generator)
        return 2.0 ** drawn.to(torch.float64)

    def indices(self, most: int, *shape: int) -> Tensor:
        """Whole numbers below ``most``."""
        return torch.randint(0, most, shape, generator=self.generator)

    def mask(self, *shape: int) -> Tensor:
        """Booleans."""
        return torch.randint(0, 2, shape, generator=self.generator).bool()

    def bias(self, size: int) -> tuple[str, Tensor | None]:
        """No bias, a zero bias, or one that is not zero."""
        if self.breaks():
            return "bias", self.weights(size) + 2
        if self.integer(0, 2) == 0:
            return "zero bias", torch.zeros(size, dtype=torch.float64)
        return "no bias", None

    def constant(self) -> float:
        """Zero where the law is to be kept, else a number."""
        return float(self.one_of(0.5, -1.0, 2.0)) if self.breaks() else 0.0

    def axis(self, h: Tensor) -> int:
        """A dimension other than the batch."""
        return self.integer(1, h.dim() - 1)

    def add(
        self,
        name: str,
        text: str,
        sources: tuple[int, ...],
        compute: Compute,
        *,
        most: float = LARGEST,
    ) -> bool:
        """Append a step unless it fails, grows too large, or leaves the numbers."""
        try:
            with torch.no_grad():
                value = compute(*(_copy(self.values[i]) for i in sources))
        except (RuntimeError, ValueError, IndexError):
            return False
        size = self.program.inputs[0].shape[0]
        if not isinstance(value, Tensor) or not value.dim() or value.shape[0] != size:
            return False
        finite = bool(torch.isfinite(value).all()) and float(value.abs().max()) < most
        if not finite or value.numel() > MOST_ENTRIES:
            return False
        self.program.steps.append(Step(name, text, sources, compute))
        self.values.append(value)
        return True

    def pair(self) -> tuple[int, int]:
        """Two results of one shape to read from: mostly the last one, and any that is alike."""
        usable = [
            i
            for i, value in enumerate(self.values)
            if isinstance(value, Tensor) and value.dtype == torch.float64 and value.dim() > 1
        ]
        first = usable[-1] if self.integer(0, 4) else self.one_of(*usable)
        shape = self.values[first].shape
        second = self.one_of(*(i for i in usable if self.values[i].shape == shape))
        return (first, second) if self.integer(0, 1) else (second, first)

    def step(self) -> None:
        """Try to append one step."""
        broken = self.breaks()
        pair = self.pair()
        given = [self.values[i] for i in pair]
        kinds = _kinds_of(self.theme, broken)
        offered = [k for k in kinds if k.needs(*given[: k.arity])]
        chosen = self.one_of(*offered)
        sources = pair[: chosen.arity]
        try:
            text, compute = chosen.recipe(self, *(self.values[i] for i in sources))
        except (RuntimeError, ValueError, IndexError):
            return
        self.add(chosen.name, text, sources, compute)


@cache
def _kinds_of(theme: str, broken: bool) -> list[Kind]:
    """Those that keep a law that the theme is about, or all that break one; all are registered."""
    kinds = (k for k in KINDS.values() if k.breaks == broken)
    return [k for k in kinds if broken or theme in k.themes]


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value
