r"""Hoisting: the trunk once, the head at every point of the integration rule.

With the frontier tensors :math:`h_j(z(a)) = a^{k_j} h_j(x)`, or affine in :math:`a`,

.. math:: \sum_s w_s \frac{\partial F}{\partial z}(z(a_s)) = J_\text{trunk}(x)^T v, \qquad
    v_j = \sum_s w_s a_s^{k_j - 1} \frac{\partial \text{head}}{\partial h_j}(h(a_s)),

where :math:`k_j = 1` for affine tensors: the numbers are Captum's for the same points and weights.
The trunk is the watched run itself; the recorded operations of the head are repeated under
``torch.vmap`` over the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_xdnn._torch import gradients_from
from captum_xdnn.proof.baseline_values import BaselineValues, Unavailable
from captum_xdnn.proof.batch_dim import BatchDim
from captum_xdnn.proof.domain import FIXED, Power
from captum_xdnn.proof.taken_apart import how
from captum_xdnn.proof.watching import Watched
from captum_xdnn.recording.node import Node, map_nodes
from captum_xdnn.recording.run import in_form
from captum_xdnn.routes.gradients import seed_of
from captum_xdnn.routes.plan import RESHAPING, Plan, is_batched
from captum_xdnn.routes.request import Call
from captum_xdnn.routes.single_pass import explained, widened

NO_START = "the value at the baseline of a tensor at the cut is not known"

Points = Sequence[tuple[float, float]]
"""Pairs of a weight and a place ``a > 0`` on the ray."""

_aten = torch.ops.aten


@dataclass(frozen=True)
class Hoisted:
    """What hoisting gives."""

    # for each input, the weighted sum of the gradients at the points
    mean_gradients: tuple[Tensor, ...]
    output: Tensor  # what the repeated head returns at the inputs
    # what the attributions must add up to by Euler's identity in the trunk, shape (1,)
    total: Tensor
    bound: Tensor  # the Cauchy-Schwarz bound of that sum


class Crossing:
    """The tensors at the cut of one watched run.

    Attributes:
        moving: Those that move along the ray, each with its degree, and its value at the baseline if it is affine.
        values: Their values at the inputs.
    """

    def __init__(
        self, plan: Plan, watched: Watched, leaves: tuple[Tensor, ...], *, graph: bool
    ) -> None:
        tape, verdict, given = watched.tape, watched.verdict, watched.given
        if tape is None or verdict is None or given is None:
            message = "the function did not run to its end"
            raise RuntimeError(message)
        self._plan, self._graph, self._leaves = plan, graph, leaves
        self._fixed: dict[Node, Any] = {n: tape.sources[n.number] for n in plan.split.others}
        self.moving: list[tuple[Node, float, Tensor | None]] = []
        self.values: dict[Node, Tensor] = {}
        self._edges: list[Any] = []
        baseline_values: BaselineValues = verdict.baseline_values(given, graph=graph)
        for node, motion in zip(plan.split.frontier, plan.split.motions, strict=True):
            if node in plan.split.fixed:
                self._fixed[node] = _known(baseline_values, node)
                continue
            if node.op == "placeholder":
                value, edge = leaves[node.number], None
            else:
                value, edge = tape.kept[node.number]
            connected = value.requires_grad if edge is None else edge is not False
            if motion == FIXED or not connected:
                self._fixed[node] = value if graph else value.detach()
                continue
            degree = float(motion.degree) if isinstance(motion, Power) else 1.0
            start = None if isinstance(motion, Power) else _known(baseline_values, node)
            self.values[node] = value
            self._edges.append(value if edge is None else edge)
            self.moving.append((node, degree, start))

    def hoisted(self, call: Call, points: Points, most: int) -> Hoisted:
        """Integrate."""
        with torch.enable_grad():
            cotangents: list[Tensor] = []
            for start in range(0, len(points), most):
                part = self._cotangents(points[start : start + most], call)
                cotangents = list(map(torch.add, cotangents, part)) if cotangents else part
        return self.led_back(cotangents)

    def led_back(self, cotangents: Sequence[Tensor]) -> Hoisted:
        """Lead the ``v`` back through the trunk."""
        with torch.enable_grad():
            pairs = zip(cotangents, self.values.values(), strict=True)
            gradients = gradients_from(
                self._edges,
                self._leaves,
                [v.to(h.dtype) for v, h in pairs],
                create_graph=self._graph,
                retain_graph=True,
                allow_unused=True,
            )
            filled = (or_zeros(g, x) for g, x in zip(gradients, self._leaves, strict=True))
            mean_gradients = tuple(map(widened, filled))
        with torch.no_grad():
            values = {node: value.detach() for node, value in self.values.items()}
            return Hoisted(mean_gradients, self.head(values), *self._total(cotangents))

    def output_at(self, place: float, *, together: bool) -> Tensor:
        """What the repeated head returns at a place of the ray: alone, or as one of several steps."""
        points = ((1.0, 1.0), (1.0, place))
        along = [self._along(n, degree, start, points).detach() for n, degree, start in self.moving]
        if not together:
            return self._through([t[1:] for t in along], lambda output, _: output)
        return self._through(
            along, lambda output, steps: output.unflatten(0, (steps, -1)) if steps > 1 else output
        )[1]

    def _total(self, cotangents: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The sum of the attributions, read off at the cut: ``v`` times the speed there."""
        sums, bounds = [], []
        for (node, _, start), speed, v in zip(self.moving, self.speeds(), cotangents, strict=True):
            value = self.values[node].detach()
            sums.append((v.detach() * speed).sum())
            norm = torch.linalg.vector_norm
            # A difference is rounded in units of what is subtracted.
            size = norm(speed) if start is None else norm(value) + norm(start.detach())
            bounds.append(norm(v) * size)
        return torch.stack(sums).sum().reshape(1), torch.stack(bounds).sum()

    def speeds(self) -> list[Tensor]:
        """For each moving tensor its derivative by the place, at the inputs."""
        found = []
        for node, degree, start in self.moving:
            value = self.values[node].detach()
            found.append(degree * value if start is None else value - start.detach())
        return found

    def _cotangents(self, points: Points, call: Call) -> list[Tensor]:
        """For each moving tensor its ``v``, over some of the points."""
        _, gradients = self.gradients_at(points, call)
        pairs = zip(gradients, self.moving, strict=True)
        return [self._summed(gradient, degree, points) for gradient, (_, degree, _) in pairs]

    def gradients_at(self, points: Points, call: Call) -> tuple[Tensor, list[Tensor]]:
        """The explained outputs at some points, shape ``(P, B)``, and their gradients by the moving tensors."""
        with nullcontext() if self._graph else torch.no_grad():
            along = [self._along(n, degree, start, points) for n, degree, start in self.moving]
        if not self._graph:
            for tensor in along:
                tensor.requires_grad_()
        chosen = self._through(
            along, lambda output, steps: explained(output, _repeated_target(call.target, steps))
        )
        seed = seed_of(chosen, torch.ones_like(chosen), create_graph=self._graph)
        gradients = gradients_from(
            (chosen,), along, (seed,), create_graph=self._graph, allow_unused=True
        )
        return chosen.reshape(len(points), -1), list(map(or_zeros, gradients, along))

    def _through(self, along: list[Tensor], chosen: Callable[[Any, int], Tensor]) -> Tensor:
        """Of what the head returns at all points what is ``chosen``: of the rows of so many steps."""
        nodes, steps = [node for node, _, _ in self.moving], len(along[0])

        def head(*values: Tensor) -> Tensor:
            return chosen(self.head(dict(zip(nodes, values, strict=True))), 1)

        if steps == 1:
            return head(*(tensor[0] for tensor in along))
        if not self._plan.stacks:
            together: Tensor = torch.vmap(head)(*along)
            return together
        rows = dict(zip(nodes, (tensor.flatten(0, 1) for tensor in along), strict=True))
        size = len(along[0][0])
        examples = torch.arange(size, device=along[0].device).repeat(steps)
        return chosen(self.head(rows, examples), steps)

    def _along(self, node: Node, degree: float, start: Tensor | None, points: Points) -> Tensor:
        """A frontier tensor at all points, one after the other in a new first dimension."""
        value = self.values[node]
        value = value if self._graph else value.detach()
        factors = value.new_tensor([a**degree for _, a in points])
        factors = factors.reshape([-1] + [1] * value.dim())
        if start is None:
            stretched: Tensor = factors * value
            return stretched
        return torch.addcmul(start.unsqueeze(0), factors, value - start)

    def _summed(self, gradient: Tensor, degree: float, points: Points) -> Tensor:
        """The weighted sum of a frontier tensor's gradients at the points."""
        weights = gradient.new_tensor([w * a ** (degree - 1) for w, a in points])
        summed: Tensor = torch.tensordot(weights, gradient, ([0], [0]))
        return summed

    def head(self, values: dict[Node, Tensor], examples: Tensor | None = None) -> Any:
        """Repeat the recorded operations of the head; on rows of one batch, each of one of the ``examples``."""
        known: dict[Node, Any] = {**self._fixed, **values}
        rows = {} if examples is None else self._plan.rows
        for node, value in self._fixed.items():
            if rows.get(node) == BatchDim(0):
                known[node] = value[examples]
        result: Any = None
        for node in self._plan.split.head:
            args = map_nodes(node.args, known.__getitem__)
            kwargs = map_nodes(node.kwargs, known.__getitem__)
            length = len(examples) if examples is not None and rows.get(node) == BatchDim(0) else 0
            with nullcontext() if node.graded else torch.no_grad():
                result = repeated(node, args, kwargs, length)
            if node.ungraded_write and args and isinstance(result, Tensor):
                result = with_gradient_of(args[0], result)
            known[node] = result
        return result


def with_gradient_of(before: Any, result: Tensor) -> Tensor:
    """A value that was written in place without gradients: that of before goes on through it."""
    if not isinstance(before, Tensor) or before.shape != result.shape:
        return result
    if not before.is_floating_point() or not result.is_floating_point():
        return result  # inside of vmap no tensor says whether it requires a gradient
    return result + (before - before.detach())


def _repeated_target(target: Any, times: int) -> Any:
    """A target for each step's rows, one step after the other."""
    if isinstance(target, list):
        return target * times
    return target.repeat(times) if isinstance(target, Tensor) and target.numel() > 1 else target


def repeated(node: Node, args: Any, kwargs: Any, length: int) -> Any:
    """One operation again, for so many rows: a view of memory that may lie otherwise is a reshape."""
    name = getattr(node.target, "_schema", None)
    name = "" if name is None else name.name
    if name in RESHAPING and isinstance(args[1], tuple):
        shape = args[1]
        if length:
            shape = (length if shape[0] > 0 else shape[0], *shape[1:])
        return args[0].reshape(shape)
    if "scaled_dot_product" in name:
        return _attention(args, kwargs, node.target._schema)
    if name and not is_batched(node.target):
        parts = how(node.target)
        if parts is not None:
            return parts(*args, **kwargs)
    return in_form(node, node.target(*args, **kwargs))


def _attention(args: Any, kwargs: Any, schema: Any) -> Any:
    """Attention as the operations that it is made of; each device's overload has another order of arguments."""
    given = {**{a.name: v for a, v in zip(schema.arguments, args, strict=False)}, **kwargs}
    query, key = given["query"], given["key"]
    output, weights = _aten._scaled_dot_product_attention_math.default(
        query,
        key,
        given["value"],
        given.get("attn_mask", given.get("attn_bias")),
        given.get("dropout_p", 0.0),
        given.get("is_causal", False),
        scale=given.get("scale"),
        enable_gqa=query.dim() > 3 and query.shape[-3] != key.shape[-3],
    )
    return output, weights


def _known(baseline_values: BaselineValues, node: Node) -> Tensor:
    """The value of a node at the baseline."""
    try:
        value: Tensor = baseline_values.value(node)
    except Unavailable as error:
        raise RuntimeError(NO_START) from error
    return value


def or_zeros(gradient: Tensor | None, tensor: Tensor) -> Tensor:
    """The gradient, which is None where the tensor was not used."""
    return torch.zeros_like(tensor) if gradient is None else gradient
