"""A hypothesis strategy for programs: small graphs of steps, with baselines that fit them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import program_algebra  # noqa: F401 - this one and the next three register their kinds
import program_layers  # noqa: F401
import program_selection  # noqa: F401
import program_writes  # noqa: F401
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import strategies as st
from program_builder import KINDS, Maker, Program
from torch import Tensor

THEMES = ("networks", "affine", "algebra", "selection")
MOST_STEPS = 9
PLAIN = ((2, 4), (2, 3, 4), (2, 2, 3, 3), (3, 5), (2, 1, 4, 4))
SHAPES = {
    "networks": ((2, 4), (2, 3, 4), (2, 2, 3, 3), (2, 1, 4, 4), (2, 4, 2, 2)),
    "affine": (*PLAIN, (2, 4, 2, 2)),
    "algebra": (*PLAIN, (2, 3, 3)),
    "selection": PLAIN,
}
OPENINGS = ("one input", "normalised", "two inputs", "first layer vanishes")


def programs(theme: str) -> st.SearchStrategy[Program]:
    """Programs of a theme; a failing one is shortened, step by step, to the first that fails.

    The decisions hang on a seed and not on draws of their own: drawn one by one, Hypothesis
    repeats itself so much that a rare kind of step hardly ever comes.
    """
    lengths = st.integers(1, MOST_STEPS)
    return st.builds(program_of, st.just(theme), st.integers(0, 2**48), lengths)


def program_of(theme: str, seed: int, length: int) -> Program:
    """The program of a seed, of one or two inputs of shape (B, ...).

    Args:
        theme: One of the themes.
        seed: Decides everything else.
        length: Number of attempts to append a step, beside the first and last steps; a longer
            program of the same seed begins like a shorter one.
    """
    program = Program((), (), (), seed=seed)
    maker = Maker(theme, program)
    shape = maker.one_of(*SHAPES[theme])
    opening = maker.one_of(*OPENINGS)
    count = 2 if opening == "two inputs" else 1
    program.inputs = tuple(on_grid(maker.generator, *shape) for _ in range(count))
    program.baselines = tuple(_baseline(maker, x, opening) for x in program.inputs)
    program.arguments = _arguments(maker, shape)
    maker.values = [*program.inputs, *program.arguments]
    _open(maker, opening)
    for _ in range(length):
        maker.step()
    _close(maker)
    return program


def on_grid(generator: torch.Generator, *shape: int) -> Tensor:
    """Multiples of 1/4 in [-2, 2]: ties and zeros are likely, sums are exact."""
    return torch.randint(-8, 9, shape, generator=generator).to(torch.float64) / 4


def off_grid(generator: torch.Generator, *shape: int) -> Tensor:
    """Normal numbers: no ties."""
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _baseline(make: Maker, x: Tensor, opening: str) -> Any:
    forms = ["zero", "number", "tensor", "one example"]
    if opening in ("one input", "two inputs"):
        forms = ["zero", "zero", "zero", *forms] if make.theme != "affine" else ["zero", *forms]
    form = make.one_of(*forms)
    if form == "tensor":
        return make.weights(*x.shape)
    if form == "one example":
        return make.weights(1, *x.shape[1:])
    return 0 if form == "zero" else make.one_of(0.5, -1.25)


def _arguments(make: Maker, shape: tuple[int, ...]) -> tuple[Any, ...]:
    if make.integer(0, 3):
        return ()
    return (make.one_of(make.weights(*shape), torch.zeros(shape, dtype=torch.float64), 2.0, 0.0),)


def _open(make: Maker, opening: str) -> None:
    """The first steps: join two inputs; or make a baseline that is not zero vanish."""
    program = make.program
    if opening == "two inputs":
        form = make.one_of("g + h", "g * h", "cat", "g - 2 h", "maximum")
        joined: dict[str, Callable[..., Tensor]] = {
            "g + h": torch.add,
            "g * h": torch.mul,
            "cat": lambda g, h: torch.cat([g, h], -1),
            "g - 2 h": lambda g, h: torch.sub(g, h, alpha=2),
            "maximum": torch.maximum,
        }
        make.add("join inputs", f"join inputs by {form}", (0, 1), joined[form])
    elif opening == "normalised":
        _normalise(make)
    elif opening == "first layer vanishes":
        _vanish(make)
    if program.arguments:
        _use_argument(make)


def _normalise(make: Maker) -> None:
    baseline = make.program.baselines[0]
    scale = make.positive(*make.program.inputs[0].shape[1:])
    form = make.one_of("(x - b) / s", "x * s - b * s", "lerp to b")
    compute: Callable[..., Tensor]
    if form == "(x - b) / s":
        compute = lambda x: (x - baseline) / scale  # noqa: E731
    elif form == "x * s - b * s":
        compute = lambda x: x * scale - baseline * scale  # noqa: E731
    else:
        start = torch.zeros_like(make.program.inputs[0]) + baseline
        compute = lambda x: torch.lerp(x, start, 0.5) - start  # noqa: E731
    make.add("normalise", f"normalise: {form}", (0,), compute)


def _vanish(make: Maker) -> None:
    """A linear layer with a bias that cancels the baseline, where there is one row of it."""
    x, baseline = make.program.inputs[0], make.program.baselines[0]
    weight = make.weights(3, x.shape[-1])
    if isinstance(baseline, Tensor) and len(baseline) > 1:
        bias = -F.linear(baseline, weight)
        make.add("vanish", "x @ w - b @ w", (0,), lambda x: F.linear(x, weight) + bias)
        return
    row = baseline if isinstance(baseline, Tensor) else torch.full_like(x[:1], float(baseline))
    if row.dim() == 2:
        bias = -F.linear(row[0], weight)
        make.add("vanish", "linear, b to zero", (0,), lambda x: F.linear(x, weight, bias))
    elif row.dim() == 4 and not isinstance(baseline, Tensor):
        kernel = make.weights(2, x.shape[1], 2, 2)
        bias = -(kernel.sum((1, 2, 3)) * baseline)
        make.add("vanish", "conv2d, b to zero", (0,), lambda x: F.conv2d(x, kernel, bias))
    elif not isinstance(baseline, Tensor):
        size = x.shape[1]
        mean, one = torch.full((size,), float(baseline)).double(), torch.ones(size).double()
        make.add(
            "vanish",
            "batch_norm, b to zero",
            (0,),
            lambda x: F.batch_norm(x, mean, one, None, None, False, 0.1, 0.0),
        )


def _use_argument(make: Maker) -> None:
    """Let the additional argument take part; its value may never support a claim."""
    place = len(make.program.inputs)
    argument = make.program.arguments[0]
    last = len(make.values) - 1 if make.program.steps else 0
    if isinstance(argument, Tensor) and make.values[last].shape != argument.shape:
        last = 0
    forms: dict[str, Callable[..., Tensor]] = {"h * argument": lambda h, c: h * c}
    if make.breaks() or make.theme == "affine":
        forms["h + argument"] = lambda h, c: h + c
        if isinstance(argument, Tensor):
            forms["where(argument > 0, h, 0)"] = lambda h, c: torch.where(c > 0, h, 0.0)
            forms["maximum with argument"] = torch.maximum
    form = make.one_of(*forms)
    make.add("with an argument", form, (last, place), forms[form])


def _close(make: Maker) -> None:
    """End with one row of outputs per example, in which every input has a part."""
    program = make.program
    ends = [len(make.values) - 1]
    read = {i for step in program.steps for i in step.sources}
    ends += [i for i in range(len(program.inputs)) if i not in read and i not in ends]
    form = make.one_of("sum", "columns", "mean")
    if form == "columns" and len(ends) == 1:
        make.add("flatten", "flatten", (ends[0],), lambda h: h.flatten(1))
        program.target = make.integer(0, make.values[-1].shape[1] - 1)
        return
    function = torch.mean if form == "mean" else torch.sum
    total: Callable[..., Tensor] = lambda *parts: sum(  # noqa: E731
        function(part.flatten(1).double(), dim=1) for part in parts
    )
    make.add("reduction", f"{form} of each example", tuple(ends), total, most=math.inf)


ALL_KINDS = frozenset(KINDS) | {"join inputs", "normalise", "vanish"}
