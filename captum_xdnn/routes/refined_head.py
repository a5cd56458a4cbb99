"""Hoisting to a tolerance: points are added in the head alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from captum_xdnn._torch import gradients_from
from captum_xdnn.proof.batch_dim import BatchDim
from captum_xdnn.recording.node import Node
from captum_xdnn.routes.plan import Plan
from captum_xdnn.routes.refinement import Evaluated, Refined, Tolerance, column, refined
from captum_xdnn.routes.repeated_head import Crossing, or_zeros
from captum_xdnn.routes.request import Call, of_examples
from captum_xdnn.routes.single_pass import explained

NO_EXAMPLES = "where the examples are in a tensor at the cut is not known"


def refined_in_head(
    crossing: Crossing, plan: Plan, call: Call, wanted: Tolerance, most: int, *, alone: bool
) -> Refined:
    """The integrals over the head, for each moving tensor its ``v``.

    Each example takes the points that it needs (``alone``) where rows of any number go through the head,
    else all take the same. At most ``most`` points of every example go together.
    """
    if alone and plan.stacks:
        return refined(_in_parts(_of_rows(crossing, call), most * call.size), call.size, wanted)
    return refined(_in_parts(_of_batches(crossing, plan, call), most), 1, wanted)


Part = Callable[[Tensor, Tensor], Evaluated]


def _in_parts(part: Part, most: int) -> Part:
    def evaluate(groups: Tensor, places: Tensor) -> Evaluated:
        pairs = zip(torch.split(groups, most), torch.split(places, most), strict=True)
        with torch.enable_grad():
            found = [part(g, a) for g, a in pairs]
        parts = tuple(map(torch.cat, zip(*(f.parts for f in found), strict=True)))
        outputs, slopes = (
            torch.cat(t) for t in zip(*((f.outputs, f.slopes) for f in found), strict=True)
        )
        return Evaluated(outputs, slopes, parts)

    return evaluate


def _of_rows(crossing: Crossing, call: Call) -> Part:
    """Evaluates examples at places of their own, as rows of one batch."""
    speeds = crossing.speeds()

    def row(
        node: Node, degree: float, start: Tensor | None, examples: Tensor, places: Tensor
    ) -> Tensor:
        value = crossing.values[node].detach()[examples]
        factors = column(places.to(value) ** degree, value)
        if start is None:
            return (factors * value).requires_grad_()
        low = start.detach()[examples]
        return torch.addcmul(low, factors, value - low).requires_grad_()

    def part(groups: Tensor, places: Tensor) -> Evaluated:
        examples = groups.to(call.inputs[0].device)
        rows = {n: row(n, degree, low, examples, places) for n, degree, low in crossing.moving}
        chosen = explained(crossing.head(rows, examples), of_examples(call.target, examples))
        found = gradients_from(
            (chosen,), list(rows.values()), (torch.ones_like(chosen),), allow_unused=True
        )
        parts = _shares(crossing, list(map(or_zeros, found, rows.values())), places)
        outputs = chosen.detach()
        slopes = torch.zeros_like(outputs)
        for share, speed in zip(parts, speeds, strict=True):
            slopes += (share * speed[examples]).reshape(len(places), -1).sum(1)
        return Evaluated(outputs.unsqueeze(1), slopes.unsqueeze(1), parts)

    return part


def _of_batches(crossing: Crossing, plan: Plan, call: Call) -> Part:
    """Evaluates all examples at each place."""
    speeds = crossing.speeds()

    def part(_: Tensor, places: Tensor) -> Evaluated:
        chosen, gradients = crossing.gradients_at([(1.0, a) for a in places.tolist()], call)
        outputs = chosen.detach()
        parts = _shares(crossing, gradients, places)
        slopes = torch.zeros_like(outputs)
        for (node, _degree, _start), share, speed in zip(
            crossing.moving, parts, speeds, strict=True
        ):
            slopes += _by_examples(plan, node, share * speed, call.size)
        return Evaluated(outputs, slopes, parts)

    return part


def _shares(crossing: Crossing, gradients: list[Tensor], places: Tensor) -> tuple[Tensor, ...]:
    """What gradients at P places add to each ``v``, but for the weights; nothing at the baseline itself."""
    found = []
    for (_, degree, _), gradient in zip(crossing.moving, gradients, strict=True):
        factors = torch.where(places == 0, 0.0, places ** (degree - 1)).to(gradient)
        found.append(column(factors, gradient) * gradient)
    return tuple(found)


def _by_examples(plan: Plan, node: Node, values: Tensor, size: int) -> Tensor:
    """The sums over the entries of each example, shape ``(P, B)``, of a tensor at the cut at P points."""
    if size == 1:
        return values.reshape(len(values), 1, -1).sum(2)
    rows = plan.rows[node]
    if not isinstance(rows, BatchDim):
        raise RuntimeError(NO_EXAMPLES)
    parted = values.movedim(rows.dim + 1, 1)
    return parted.reshape(len(values), rows.outer, size, -1).sum((1, 3))
