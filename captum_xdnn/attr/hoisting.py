"""The hoisted route: taken where it pays, rehearsed at first, and checked at every call."""

from __future__ import annotations

import logging
import math
from contextlib import nullcontext

import torch
from torch import Tensor

from captum_xdnn.attr.call import Call
from captum_xdnn.attr.guard import Sizes, bounds_of, gap_exceeds
from captum_xdnn.attr.hoisted import Hoisted, hoisted
from captum_xdnn.attr.outcome import (
    FLOAT32,
    NOT_FINITE,
    Outcome,
    Request,
    rows,
    times,
)
from captum_xdnn.attr.quadrature import gradients_at
from captum_xdnn.attr.rehearsal import differing_output, rehearse
from captum_xdnn.attr.rounding import lost_below, precision_of, reduced_precision_of
from captum_xdnn.homogeneity.analysis import Analysis
from captum_xdnn.homogeneity.knowledge import Knowledge
from captum_xdnn.homogeneity.plan import Plan

ERRORS = (
    AssertionError,
    IndexError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
logger = logging.getLogger("captum_xdnn")

NOT_EULER = "the attributions miss Euler's identity in the trunk by {:.3g}"


def hoisted_route(request: Request, knowledge: Knowledge, analyses: list[Analysis]) -> Outcome:
    """Attribute a call with Captum's nodes, the trunk running once.

    Args:
        request: The call and what is wanted.
        knowledge: What is known of the function.
        analyses: The analysis of each part of the call.
    """
    certificate = analyses[-1].certificate
    nothing = Outcome(certificate, traced=analyses[-1].traced is not None)
    if request.create_graph and any(t.requires_grad for a in analyses for t in a.relied):
        return nothing
    pairs = [
        (plan, part)
        for analysis, part in zip(analyses, request.parts(), strict=True)
        if (plan := analysis.plan) is not None and _is_ready(plan, request, part)
    ]
    if len(pairs) < len(analyses):
        return nothing
    try:
        results = [_integrated(plan, request, part) for plan, part in pairs]
    except ERRORS:  # Captum's code answers, or raises what is wrong with the call
        return nothing
    refusal = ""
    if request.verify:
        checks = (
            _contradiction(r, p, request, c) for r, (p, c) in zip(results, pairs, strict=True)
        )
        refusal = next(filter(None, checks), "")
    if refusal == NOT_FINITE:
        return Outcome(certificate, refusal=refusal)
    if refusal:
        knowledge.drop(refusal)
        return Outcome(certificate, refusal=refusal, contradicted=True)
    with torch.enable_grad() if request.create_graph else nullcontext():
        gradients = rows(
            [_with_start(r, request, part) for r, (_, part) in zip(results, pairs, strict=True)]
        )
        if request.multiply_by_inputs:
            gradients = times(gradients, request.call.differences())
    return Outcome(certificate, gradients, route="hoisted")


def _is_ready(plan: Plan, request: Request, part: Call) -> bool:
    """Whether hoisting this call pays, its shapes are the plan's, and the copy is the function."""
    steps = request.quadrature.n_steps
    if not plan.pays(part.size, steps):
        return False
    if not all(map(plan.holds_for, _batches(plan, request, part))):
        return False
    precision = precision_of(part.inputs, plan.traced.coarsest)
    if precision > FLOAT32:
        return False
    if not plan.rehearsed:
        bound = request.quadrature.internal_batch_size
        plan.refusal = rehearse(plan, request.forward_func, part, precision, bound)
        plan.rehearsed = True
        if plan.refusal:
            logger.info("not hoisted: %s", plan.refusal)
    return not plan.refusal


def _most(plan: Plan, request: Request, part: Call) -> int:
    """How many steps go through the head together, at most."""
    steps, bound = len(_nodes(request)), request.quadrature.internal_batch_size
    on_cpu = part.inputs[0].device.type == "cpu"
    together = -(-steps // plan.passes(part.size, steps, cached=on_cpu))
    return max(1, together if bound is None else min(together, bound // part.size))


def _batches(plan: Plan, request: Request, part: Call) -> set[int]:
    """The sizes of the batches in the head, and in Captum's own passes."""
    bound, size = request.quadrature.internal_batch_size, request.call.size
    steps = request.quadrature.n_steps
    captums = steps if bound is None else max(1, min(steps, bound // size))
    ours, most = len(_nodes(request)), _most(plan, request, part)
    counts = {min(most, ours) * part.size, (ours % most or most) * part.size}
    return counts | {captums * size, (steps % captums or captums) * size}


def _nodes(request: Request) -> list[tuple[float, float]]:
    """Weights and places of the nodes, without one at the baseline itself."""
    return [(w, a) for w, a in request.quadrature.applied() if a != 0]


def _integrated(plan: Plan, request: Request, part: Call) -> Hoisted:
    most = _most(plan, request, part)
    return hoisted(plan, part, _nodes(request), most=most, graph=request.create_graph)


def _with_start(result: Hoisted, request: Request, part: Call) -> tuple[Tensor, ...]:
    """The mean gradients, with those at the baseline itself where a rule has a node there.

    At the baseline, homogeneous parts stand on their kink, and autograd's choice there is not the
    limit along the ray: such a node is left to the real function.
    """
    nodes = [(w, a) for w, a in request.quadrature.applied() if a == 0]
    if not nodes:
        return result.mean_gradients
    start = gradients_at(request.forward_func, part, nodes, create_graph=request.create_graph)
    return tuple(map(torch.add, result.mean_gradients, start))


def _contradiction(result: Hoisted, plan: Plan, request: Request, part: Call) -> str:
    """How a call contradicts its plan; empty if it does not."""
    precision = precision_of(part.inputs, plan.traced.coarsest)
    reduced = max(precision, reduced_precision_of(part.inputs))
    gradients = tuple(g.detach() for g in result.mean_gradients)
    differences = tuple(d.detach() for d in part.differences())
    products = times(gradients, differences)

    def bounds() -> Tensor:
        return (bounds_of(gradients, differences).sum() + result.bound).reshape(1)

    if gap_exceeds(products, result.total, None, Sizes(reduced, bounds, lost_below(precision))):
        gap = sum(float(p.sum()) for p in products) - float(result.total)
        return NOT_EULER.format(abs(gap)) if math.isfinite(gap) else NOT_FINITE
    return differing_output(result.output, request.forward_func, part, reduced)
