"""A program on the ray between baselines and inputs: values, gradients, an explicit integral."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from program_builder import Program
from programs import off_grid
from torch import Tensor

from captum_xdnn.proof.nodes import is_mutable
from captum_xdnn.proof.watching import Watched
from captum_xdnn.recording.node import Node, map_nodes
from captum_xdnn.recording.run import in_form
from captum_xdnn.routes.certification import certificate_of

CLOSE = 1e-7
COARSE = 1e-3
"""Tolerance where a program computes a part in float32."""


class Run:
    """A program on the ray between baselines and inputs."""

    def __init__(
        self, program: Program, inputs: Sequence[Tensor], baselines: Sequence[Any]
    ) -> None:
        self.program = program
        self.inputs = tuple(inputs)
        self.baselines = tuple(baselines)
        self.close = COARSE if program.rough else CLOSE
        self.least = 0.0
        """Numbers smaller than this may be nothing but rounding."""
        self._values: dict[float, Tensor] = {}
        self._gradients: dict[float, tuple[Tensor, ...]] = {}

    def place(self, a: float) -> list[Tensor]:
        """The inputs at a point of the ray."""
        if a == 1:
            return list(self.inputs)
        return [
            b + a * (x - b) if is_moved(b) else a * x
            for x, b in zip(self.inputs, self.baselines, strict=True)
        ]

    def value(self, a: float) -> Tensor:
        """The explained output."""
        if a not in self._values:
            with torch.no_grad():
                output = self.program(*self.place(a), *self.program.arguments)
            self._values[a] = self._select(output)
        return self._values[a]

    def gradient(self, a: float) -> tuple[Tensor, ...]:
        """The gradient of the summed output with respect to each input."""
        if a not in self._gradients:
            self._gradients[a] = self._gradient(a)
        return self._gradients[a]

    def _gradient(self, a: float) -> tuple[Tensor, ...]:
        leaves = [z.requires_grad_() for z in map(torch.clone, self.place(a))]
        total = self._select(self.program(*leaves, *self.program.arguments)).sum()
        found = torch.autograd.grad(total, leaves, allow_unused=True)
        return tuple(
            torch.zeros_like(z) if g is None else g for z, g in zip(leaves, found, strict=True)
        )

    def nearby(self, seed: int) -> Run:
        """The same at inputs that differ by rounding."""
        generator = torch.Generator().manual_seed(seed)
        noise = [1 + 1e-12 * off_grid(generator, *x.shape) for x in self.inputs]
        moved = [x * n for x, n in zip(self.inputs, noise, strict=True)]
        run = Run(self.program, moved, self.baselines)
        run.least = self.least
        return run

    def name(self, what: str, watched: Watched) -> str:
        """A message with everything that a person needs to see it again."""
        return (
            f"{what}\n{self.program!r}\nbaselines {self.baselines}\ninputs {self.inputs}\n"
            f"{certificate_of(self.program, watched)}"
        )

    def _select(self, output: Tensor) -> Tensor:
        return output if self.program.target is None else output[:, self.program.target]


@cache
def quadrature(degree: float, denominator: int, nodes: int) -> list[tuple[float, float]]:
    """Points and weights of the sum; see ``attributions``."""
    roots, weights = np.polynomial.legendre.leggauss(max(nodes, int(degree * denominator) + 1))
    return [
        (u**denominator, w * denominator * u ** (denominator - 1))
        for u, w in zip(((roots + 1) / 2).tolist(), (weights / 2).tolist(), strict=True)
    ]


def attributions(run: Run, degree: float, denominator: int, nodes: int) -> tuple[Tensor, ...]:
    """Integrated Gradients as an explicit Gauss-Legendre sum in float64.

    With ``a = u**m`` for the denominator ``m`` of the degree, the integrand of a homogeneous
    function is a polynomial in ``u``, of which the sum is the exact integral.
    """
    total = [torch.zeros_like(x) for x in run.inputs]
    for point, weight in quadrature(degree, denominator, nodes):
        for entry, gradient in zip(total, run.gradient(point), strict=True):
            entry += weight * gradient
    return tuple(t * (x - b) for t, x, b in zip(total, run.inputs, run.baselines, strict=True))


def interpret(watched: Watched, run: Run, a: float) -> dict[Node, Any]:
    """The value of every node of a watched run at a point of the ray.

    Without those that cannot be repeated, and, at the baseline, those that fail there.
    """
    tape, verdict = watched.tape, watched.verdict
    if tape is None or verdict is None:
        return {}
    values: dict[Node, Any] = dict(zip(verdict.graph.inputs, run.place(a), strict=True))
    for number, node in verdict.graph.sources.items():
        if not node.flaw:
            values[node] = tape.sources[number].detach()
    return computed(verdict.graph.nodes, values, strict=a != 0)


def computed(
    nodes: Sequence[Node], values: dict[Node, Any], *, strict: bool = True
) -> dict[Node, Any]:
    """The values of the operations of a run, computed one by one.

    Args:
        nodes: The nodes, in order.
        values: The values of what the run did not compute.
        strict: Whether an operation that fails is an error.
    """
    with torch.no_grad():
        for node in nodes:
            if node.op != "call_function" or node.value is None or node.flaw:
                continue
            function = _again(node.target)
            if function is None or not all(n in values for n in node.all_input_nodes):
                continue
            args = map_nodes(node.args, values.__getitem__)
            kwargs = map_nodes(node.kwargs, values.__getitem__) if node.kwargs else {}
            try:
                values[node] = in_form(node, function(*args, **kwargs))
            except NotImplementedError:
                continue
            except RuntimeError:
                if strict:
                    raise
    return values


@cache
def _again(target: Any) -> Callable[..., Any] | None:
    """An operation again, None if it writes; memory may lie otherwise: a view becomes a reshape.

    New memory holds NaN: whatever reads it is found, as the output of the program is none.
    """
    if is_mutable(target):
        return None
    if str(target) in ("aten.view.default", "aten._unsafe_view.default"):
        return torch.reshape
    if "empty" not in str(target):
        return target  # type: ignore[no-any-return]

    def filled(*args: Any, **kwargs: Any) -> Any:
        value = target(*args, **kwargs)
        return value.fill_(torch.nan) if value.is_floating_point() else value

    return filled


def limit(at_0: Tensor | None, early: Tensor, at_1: Tensor) -> Tensor:
    """The start of a ray that is straight, where the program itself gives 0 / 0 there.

    Args:
        at_0: What it gives at the baseline; None if it fails.
        early: Its value at a quarter of the ray.
        at_1: Its value at the end.
    """
    extended = (4 * early - at_1) / 3
    if at_0 is None:
        return extended
    return torch.where(at_0.isnan() | extended.isfinite() & ~at_0.isfinite(), extended, at_0)


def size_of(tensor: Any) -> float:
    if not isinstance(tensor, Tensor) or not tensor.numel() or not tensor.is_floating_point():
        return 0.0
    largest = float(tensor.abs().max())
    return largest if math.isfinite(largest) else float(tensor.abs().nan_to_num(0.0, 0.0).max())


def is_moved(baseline: Any) -> bool:
    return isinstance(baseline, Tensor) or baseline != 0


def joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.flatten() for part in parts])
