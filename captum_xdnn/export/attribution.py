r"""The attribution as a function of tensors, by the recorded operations: what is traced.

Single pass, :math:`\tfrac{1}{k} (x - b) \, \partial F / \partial x`; hoisted, the trunk once and the
head at Captum's points; else Captum's sum, its points in passes of a bounded number of them. In all
three the number of rows is whatever the batch size is, a symbol while it is traced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_xdnn.export.recorded import Recorded
from captum_xdnn.export.targets import Target
from captum_xdnn.proof.batch_dim import BatchDim, Unbatched
from captum_xdnn.proof.domain import FIXED, Power
from captum_xdnn.recording.node import Node
from captum_xdnn.routes.plan import Plan
from captum_xdnn.routes.repeated_head import or_zeros
from captum_xdnn.routes.single_pass import widened

TOGETHER = 25
"""Points of the ray in one pass of Captum's sum, and of a hoisted head: 50 steps are two passes."""

Found = tuple[Tensor, tuple[Tensor, ...]]
"""The outputs, and for each input the mean gradient on the ray."""


@dataclass(frozen=True)
class Points:
    """Captum's points of the ray with their weights, each of shape ``(P,)``."""

    places: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.places)

    def passes(self, most: int) -> Iterator[Points]:
        """The same in parts of at most so many."""
        for first in range(0, len(self), most):
            yield Points(self.places[first : first + most], self.weights[first : first + most])

    def of(self, value: Tensor, start: Any = None, degree: float = 1.0) -> Tensor:
        """A tensor at all points, one after the other in a new first dimension, by its motion."""
        factors = self.places if degree == 1.0 else self.places**degree
        factors = factors.to(value.dtype).reshape([-1] + [1] * value.dim())
        return factors * value if start is None else start + factors * (value - start)

    def weighed(self, gradients: Tensor, degree: float = 1.0) -> Tensor:
        """The weighted sum over the points of gradients by a tensor of a degree."""
        weights = self.weights if degree == 1.0 else self.weights * self.places ** (degree - 1)
        shape = gradients.shape[1:]
        total = weights.to(gradients.dtype).unsqueeze(0) @ gradients.reshape(len(self), -1)
        return total.reshape(shape)


class Problem:
    """One call in the terms of the recorded operations.

    Attributes:
        function: The recorded operations.
        weights: The tensors that they take beside inputs and arguments.
        arguments: The further arguments of the call that are tensors, by position.
        starts: The baseline of each input: a number, or a tensor of one row or all.
    """

    def __init__(
        self,
        function: Recorded,
        weights: Mapping[Node, Tensor],
        arguments: Mapping[int, Tensor],
        starts: Sequence[Tensor | float],
    ) -> None:
        self.function, self.weights, self.arguments = function, weights, arguments
        self.starts = starts

    def known(self, inputs: Sequence[Tensor], times: int = 1) -> dict[Node, Any]:
        """The tensors that the operations take, the rows of the arguments so many times one after the other."""
        known: dict[Node, Any] = dict(self.weights)
        batched = self.function.verdict.form[1]
        for position, node in self.function.arguments.items():
            value = self.arguments[position]
            known[node] = _times(value, times, 0) if node.number in batched else value
        known.update(zip(self.function.inputs, inputs, strict=True))
        return known

    def output(self, inputs: Sequence[Tensor], rows: Any, times: int = 1) -> Tensor:
        """What the function returns for so many rows, so many times."""
        known = self.known(inputs, times)
        self.function.repeat(self.function.nodes, known, rows * times)
        found: Tensor = known[self.function.output]
        return found

    @property
    def together(self) -> int:
        """Points in one pass: one where the operations are those of one batch size."""
        return TOGETHER if self.function.is_for_any_size else 1

    @property
    def is_alone(self) -> bool:
        """Whether one row at the baseline stands for all of them."""
        return (
            self.function.is_for_any_size
            and not self.function.arguments
            and self.function.verdict.keeps_rows_apart
        )

    def at_baseline(self, inputs: Sequence[Tensor]) -> tuple[list[Tensor], Any]:
        """The baselines in the shapes of the inputs, of one row where that will do, and how many."""
        rows = 1 if self.is_alone else inputs[0].shape[0]
        pairs = zip(inputs, self.starts, strict=True)
        return [x.new_zeros((rows, *x.shape[1:])) + b for x, b in pairs], rows

    def output_at_baseline(self, inputs: Sequence[Tensor]) -> Tensor:
        """What the function returns at the baseline, of one row where that will do."""
        return self.output(*self.at_baseline(inputs))


def single_pass(problem: Problem, inputs: Sequence[Tensor], target: Target, degree: float) -> Found:
    """One forward and one backward pass."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    with torch.enable_grad():
        output = problem.output(leaves, inputs[0].shape[0])
        chosen = target.chosen(output, target.index(output))
        found = torch.autograd.grad(chosen, leaves, torch.ones_like(chosen), allow_unused=True)
    filled = map(or_zeros, found, leaves)
    return output.detach(), tuple(widened(g if degree == 1 else g / degree) for g in filled)


def summed(problem: Problem, inputs: Sequence[Tensor], target: Target, points: Points) -> Found:
    """Captum's weighted sum of the gradients at its points."""
    rows = inputs[0].shape[0]
    with torch.no_grad():
        output = problem.output(inputs, rows)
        index = target.index(output)
    apart = problem.function.verdict.keeps_rows_apart
    total: list[Tensor] = []
    for part in points.passes(problem.together if apart else len(points)):
        pairs = zip(inputs, problem.starts, strict=True)
        ray = [part.of(x.detach(), b).flatten(0, 1).requires_grad_() for x, b in pairs]
        with torch.enable_grad():
            there = problem.output(ray, rows, len(part))
            chosen = target.chosen(there, None if index is None else _times(index, len(part), 0))
            found = torch.autograd.grad(chosen, ray, torch.ones_like(chosen), allow_unused=True)
        filled = [widened(or_zeros(g, z)) for g, z in zip(found, ray, strict=True)]
        shapes = [(len(part), *x.shape) for x in inputs]
        mine = [part.weighed(g.reshape(s)) for g, s in zip(filled, shapes, strict=True)]
        total = list(map(torch.add, total, mine)) if total else mine
    return output.detach(), tuple(total)


def row_dims(plan: Plan) -> dict[Node, int | None] | None:
    """For each tensor at the cut the dimension of its rows; None of those that all rows share.

    None as a whole where the rows of several points cannot stand in one batch of the head.
    """
    dims: dict[Node, int | None] = {}
    moving = zip(plan.split.frontier, plan.split.motions, strict=True)
    moves = {node for node, motion in moving if motion != FIXED}
    for node in (*plan.split.frontier, *plan.split.others):
        state = plan.rows.get(node)
        if isinstance(state, BatchDim) and state.width == state.outer == 1:
            dims[node] = state.dim
        elif isinstance(state, Unbatched) and node not in moves:
            dims[node] = None
        else:
            return None
    return dims


def hoisted(
    problem: Problem, inputs: Sequence[Tensor], target: Target, points: Points, plan: Plan
) -> Found:
    """Captum's weighted sum of the gradients at its points, the trunk running once."""
    rows, split, dims = inputs[0].shape[0], plan.split, row_dims(plan) or {}
    function, output_node = problem.function, problem.function.output
    leaves = [x.detach().requires_grad_() for x in inputs]
    head = set(split.head)
    trunk = [node for node in function.nodes if node not in head]
    with torch.enable_grad():
        known = problem.known(leaves)
        function.repeat(trunk, known, rows)
    values = {n: known[n].detach() for n in (*split.frontier, *split.others)}
    at_baseline: dict[Node, Any] = {}
    with torch.no_grad():
        whole: dict[Node, Any] = dict(values)
        function.repeat(split.head, whole, rows)
        output: Tensor = whole[output_node]
        index = target.index(output)
        if not all(isinstance(m, Power) or m == FIXED for m in split.motions):
            starts, few = problem.at_baseline(inputs)
            at_baseline = problem.known(starts)
            function.repeat(trunk, at_baseline, few)
    moving: list[tuple[Node, float, Any]] = []
    for node, motion in zip(split.frontier, split.motions, strict=True):
        if motion != FIXED and node not in split.fixed and known[node].requires_grad:
            power = isinstance(motion, Power)
            degree = float(motion.degree) if isinstance(motion, Power) else 1.0
            moving.append((node, degree, None if power else at_baseline[node]))
    moves = {node for node, _, _ in moving}
    total: list[Tensor] = []
    for part in points.passes(problem.together):
        there = {n: _times(v, len(part), dims[n]) for n, v in values.items() if n not in moves}
        ray = [part.of(values[n], start, degree).requires_grad_() for n, degree, start in moving]
        with torch.enable_grad():
            for (node, _, _), along in zip(moving, ray, strict=True):
                there[node] = torch.cat(along.unbind(0), dims[node] or 0)
            function.repeat(split.head, there, rows * len(part))
            several = None if index is None else _times(index, len(part), 0)
            chosen = target.chosen(there[output_node], several)
            found = torch.autograd.grad(chosen, ray, torch.ones_like(chosen), allow_unused=True)
        triples = zip(found, ray, moving, strict=True)
        mine = [part.weighed(or_zeros(g, z), degree) for g, z, (_, degree, _) in triples]
        total = list(map(torch.add, total, mine)) if total else mine
    with torch.enable_grad():
        edges = [known[node] for node, _, _ in moving]
        led_back = torch.autograd.grad(edges, leaves, total, allow_unused=True)
    return output, tuple(widened(or_zeros(g, x)) for g, x in zip(led_back, leaves, strict=True))


def _times(value: Tensor, times: int, dim: int | None) -> Tensor:
    """A tensor so many times one after the other, along its rows."""
    return value if dim is None or times == 1 else torch.cat([value] * times, dim)
