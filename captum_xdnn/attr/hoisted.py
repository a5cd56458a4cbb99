r"""Hoisting: the trunk once, the head at every node of the integration rule.

With the frontier tensors :math:`h_j(z(a)) = a^{k_j} h_j(x)`, or affine in :math:`a`,

.. math:: \sum_s w_s \frac{\partial F}{\partial z}(z(a_s)) = J_\text{trunk}(x)^T v, \qquad
    v_j = \sum_s w_s a_s^{k_j - 1} \frac{\partial \text{head}}{\partial h_j}(h(a_s)),

where :math:`k_j = 1` for affine tensors: the numbers are Captum's for the same nodes and weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from captum_xdnn.attr._captum import expand_target
from captum_xdnn.attr.call import Call
from captum_xdnn.attr.single_pass import explained, widened
from captum_xdnn.homogeneity.motion import FIXED, Power
from captum_xdnn.homogeneity.plan import Plan
from captum_xdnn.homogeneity.row_domain import Rows

Nodes = Sequence[tuple[float, float]]
"""Pairs of a weight and a place ``a > 0`` on the ray."""


@dataclass(frozen=True)
class Hoisted:
    """What hoisting gives.

    Attributes:
        mean_gradients: For each input, the weighted sum of the gradients at the nodes.
        output: What the copy of the function returns at the inputs.
        total: What the attributions must add up to by Euler's identity in the trunk, shape (1,).
        bound: The Cauchy-Schwarz bound of that sum.
    """

    mean_gradients: tuple[Tensor, ...]
    output: Tensor
    total: Tensor
    bound: Tensor


def hoisted(plan: Plan, call: Call, nodes: Nodes, *, most: int, graph: bool) -> Hoisted:
    """Integrate a function whose trunk runs once.

    Args:
        plan: How it is split.
        call: The call.
        nodes: Weights and places of the integration rule.
        most: The most steps in one pass through the head.
        graph: Whether the gradients can be differentiated again.

    Raises:
        AssertionError: If the output has several entries per example and no target chooses one.
        RuntimeError: If the copy of the function cannot be run or differentiated.
    """
    with torch.enable_grad():
        leaves = call.leaves(keep_graph=graph)
        crossing = _Crossing(plan, call, leaves, graph=graph)
        cotangents: list[Tensor] = []
        for start in range(0, len(nodes), most):
            part = crossing.cotangents(nodes[start : start + most], call)
            cotangents = list(map(torch.add, cotangents, part)) if cotangents else part
        gradients = torch.autograd.grad(
            crossing.moving,
            leaves,
            [v.to(h.dtype) for v, h in zip(cotangents, crossing.moving, strict=True)],
            create_graph=graph,
            allow_unused=True,
        )
        filled = (_or_zeros(g, x) for g, x in zip(gradients, leaves, strict=True))
        mean_gradients = tuple(map(widened, filled))
    with torch.no_grad():
        return Hoisted(mean_gradients, crossing.output(), *crossing.total(cotangents))


class _Crossing:
    """The tensors at the cut, for one call."""

    def __init__(self, plan: Plan, call: Call, leaves: tuple[Tensor, ...], *, graph: bool) -> None:
        self._plan, self._size, self._graph = plan, call.size, graph
        self._values = _sources(plan, call, leaves)
        parts = plan.split
        given = parts.trunk_sources[: len(parts.trunk_sources) - len(parts.starts)]
        starts = (_start(call, plan.traced.inputs.index(node)) for node in parts.starts)
        results = parts.trunk(*(self._value(node, self._size) for node in given), *starts)
        self._values.update(zip(parts.frontier, results, strict=False))
        at_start = iter(results[len(parts.frontier) :])
        self._moving: list[tuple[Node, float, Tensor | None]] = []
        for node, motion in zip(parts.frontier, parts.motions, strict=True):
            start = None if isinstance(motion, Power) or motion == FIXED else next(at_start)
            degree = float(motion.degree) if isinstance(motion, Power) else 1.0
            if motion != FIXED and self._values[node].requires_grad:
                self._moving.append((node, degree, start))

    @property
    def moving(self) -> list[Tensor]:
        """The values at the input of the tensors that carry a gradient."""
        return [self._values[node] for node, _, _ in self._moving]

    def _value(self, node: Node, rows: int) -> Any:
        value = self._values.get(node)
        return self._plan.number(node, rows) if value is None else value

    def output(self) -> Tensor:
        """The copy's output at the inputs."""
        sources = self._plan.split.head_sources
        value: Tensor = self._plan.split.head(*(self._value(n, self._size) for n in sources))
        return value

    def total(self, cotangents: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The sum of the attributions, read off at the cut: ``v`` times the speed there."""
        sums, bounds = [], []
        for (node, degree, start), v in zip(self._moving, cotangents, strict=True):
            speed = degree * self._values[node] if start is None else self._values[node] - start
            sums.append((v * speed).sum())
            bounds.append(torch.linalg.vector_norm(v) * torch.linalg.vector_norm(speed))
        return torch.stack(sums).sum().reshape(1), torch.stack(bounds).sum()

    def cotangents(self, nodes: Nodes, call: Call) -> list[Tensor]:
        """For each moving tensor its ``v``, over some of the nodes."""
        count, rows = len(nodes), len(nodes) * self._size
        values = dict(self._values)
        with nullcontext() if self._graph else torch.no_grad():
            for node in self._plan.split.head_sources:
                place = self._place(node)
                if place is not None and node in values and count > 1:
                    values[node] = _tiled(values[node], place, count)
            for node, degree, start in self._moving:
                values[node] = self._along(node, degree, start, nodes)
        scaled = [values[node] for node, _, _ in self._moving]
        if not self._graph:
            for tensor in scaled:
                tensor.requires_grad_()
        sources = self._plan.split.head_sources
        number = self._plan.number
        output = self._plan.split.head(
            *(values[n] if n in values else number(n, rows) for n in sources)
        )
        target = expand_target(call.target, count) if count > 1 else call.target
        chosen = explained(output, target)
        gradients = torch.autograd.grad(
            chosen, scaled, torch.ones_like(chosen), create_graph=self._graph, allow_unused=True
        )
        return [
            self._summed(_or_zeros(gradient, tensor), node, degree, nodes)
            for gradient, tensor, (node, degree, _) in zip(
                gradients, scaled, self._moving, strict=True
            )
        ]

    def _place(self, node: Node) -> Rows | None:
        place = self._plan.places.get(node)
        return place if isinstance(place, Rows) else None

    def _place_of_moving(self, node: Node) -> Rows:
        place = self._place(node)
        if place is None:  # the same for every batch size: it cannot differ between steps
            message = "a tensor that moves has no rows"
            raise RuntimeError(message)
        return place

    def _along(self, node: Node, degree: float, start: Tensor | None, nodes: Nodes) -> Tensor:
        """A frontier tensor at all nodes, side by side."""
        value = self._values[node]
        if len(nodes) == 1:
            a = nodes[0][1]
            lone: Tensor = value * a**degree if start is None else start + a * (value - start)
            return lone
        place = self._place_of_moving(node)
        factors = value.new_tensor([a**degree for _, a in nodes])
        factors = factors.reshape([-1] + [1] * (value.dim() - place.dim))
        wide = _opened(value, place)
        if start is None:
            stretched = wide * factors
        else:
            begin = _opened(start, place)
            stretched = torch.addcmul(begin, factors, wide - begin)
        side_by_side: Tensor = stretched.flatten(place.dim, place.dim + 2)
        return side_by_side

    def _summed(self, gradient: Tensor, node: Node, degree: float, nodes: Nodes) -> Tensor:
        """The weighted sum of a frontier tensor's gradients at the nodes."""
        weights = [w * a ** (degree - 1) for w, a in nodes]
        if len(nodes) == 1:
            lone: Tensor = gradient * weights[0]
            return lone
        place = self._place_of_moving(node)
        opened = _opened(gradient, place, len(nodes))
        weighted = gradient.new_tensor(weights)
        summed: Tensor = torch.tensordot(weighted, opened, ([0], [place.dim + 1]))
        flat: Tensor = summed.flatten(place.dim, place.dim + 1)
        return flat


def _sources(plan: Plan, call: Call, leaves: tuple[Tensor, ...]) -> dict[Node, Tensor]:
    values = {node: tensor for node, (_, tensor) in plan.traced.constants.items()}
    values.update(zip(plan.traced.arguments, call.tensor_arguments(), strict=True))
    values.update(zip(plan.traced.inputs, leaves, strict=True))
    return values


def _start(call: Call, index: int) -> Tensor:
    """A baseline in the shape of its input."""
    start: Tensor = torch.zeros_like(call.inputs[index]) + call.baselines[index]
    return start.detach()


def _opened(tensor: Tensor, place: Rows, count: int = 1) -> Tensor:
    """With a dimension for the steps before each batch."""
    shape = list(tensor.shape)
    shape[place.dim : place.dim + 1] = [place.outer, count, -1]
    return tensor.reshape(shape)


def _tiled(tensor: Tensor, place: Rows, count: int) -> Tensor:
    """The same at every step, side by side."""
    wide = _opened(tensor, place)
    shape = list(wide.shape)
    shape[place.dim + 1] = count
    tiled: Tensor = wide.expand(shape).flatten(place.dim, place.dim + 2)
    return tiled


def _or_zeros(gradient: Tensor | None, tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if gradient is None else gradient
