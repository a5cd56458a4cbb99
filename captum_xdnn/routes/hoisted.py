"""The hoisted route: taken where it pays, rehearsed at first, and checked at every call."""

from __future__ import annotations

import logging
import math
import time
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from captum_xdnn.checks.completeness import (
    Sizes,
    bounds_of,
    gap_exceeds,
    lost_below,
    reduced_precision_of,
)
from captum_xdnn.checks.gradient_law import agree
from captum_xdnn.proof.certificate import Certificate
from captum_xdnn.proof.verdict import Verdict, values_of
from captum_xdnn.routes.attempt import Attempt
from captum_xdnn.routes.captum import gradients_at
from captum_xdnn.routes.choice import choice_of
from captum_xdnn.routes.dependence import differs_in_the_middle
from captum_xdnn.routes.plan import Plan, plan_of
from captum_xdnn.routes.repeated_head import Crossing, Hoisted
from captum_xdnn.routes.request import FLOAT32, NOT_FINITE, Outcome, attributed, refused, times
from captum_xdnn.routes.single_pass import explained

logger = logging.getLogger("captum_xdnn")

ERRORS = (
    AssertionError,
    IndexError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What repeated operations may raise where they cannot stand for the function."""
OWN_CODE = "code of its own acts on the gradient, which repeated operations do not show"
NOT_THE_FUNCTION = "the recorded operations of the head return something else than the function"
NOT_EULER = "the attributions miss Euler's identity in the trunk by {:.3g}"
OUTPUT_UNITS = 2.0**11
"""Units of rounding by which a repeated head's output may differ from the function's."""


def hoisted_route(attempt: Attempt, verdict: Verdict, certificate: Certificate) -> Outcome:
    """Attribute by Captum's points, the trunk running once."""
    request, call, memory = attempt.request, attempt.call, attempt.memory
    plan, nothing = plan_of(verdict), Outcome(certificate)
    if plan is None or _trained(attempt, verdict) or attempt.precision() > FLOAT32:
        return nothing
    own = attempt.own_code()
    if own:
        return Outcome(certificate, refusal=f"{OWN_CODE}: {', '.join(own)}")
    choice = choice_of(verdict, request.quadrature, create_graph=request.create_graph)
    if not choice.hoist(plan.speed_up(request.quadrature.n_steps)):
        return replace(nothing, timed=choice.note_captum)
    memory.keeps[attempt.form] = plan.keep
    if not plan.keep <= attempt.tape.kept.keys() and attempt.run(plan.keep) is not verdict:
        return nothing  # it runs otherwise each time
    start, most = time.perf_counter(), _most(attempt, plan)
    try:
        crossing = Crossing(plan, attempt.watched, attempt.leaves, graph=request.create_graph)
        result = crossing.hoisted(call, _points(attempt), most)
        seconds = time.perf_counter() - start
        choice.rehearsed = choice.rehearsed or _rehearsed(attempt, crossing, most)
    except ERRORS:  # Captum's code answers, or raises what is wrong with the call
        choice.rehearsed = False
    if not choice.rehearsed:
        choice.forbid()
        return nothing
    refusal = differs_in_the_middle(
        attempt, verdict, lambda: crossing.output_at(0.5, together=most > 1), float(result.bound)
    )
    if refusal:
        return Outcome(certificate, refusal=refusal)
    refusal = _contradiction(attempt, result) if request.verify else ""
    if refusal:
        return refused(memory, certificate, refusal)
    with torch.enable_grad() if request.create_graph else nullcontext():
        gradients = attributed(
            _with_start(attempt, result), call, multiply_by_inputs=request.multiply_by_inputs
        )
    choice.note_hoisted(seconds + attempt.seconds)
    return Outcome(certificate, gradients, route="hoisted")


def _trained(attempt: Attempt, verdict: Verdict) -> bool:
    """Whether the attributions are to be differentiated by tensors whose values the proof rests on."""
    if not attempt.request.create_graph:
        return False
    values = attempt.given.values
    relied = [n for n in verdict.relied if n.number in values]
    return any(t.requires_grad for t in values_of(relied, values))


def _points(attempt: Attempt) -> list[tuple[float, float]]:
    """Weights and places, without one at the baseline itself."""
    return [(w, a) for w, a in attempt.request.quadrature.applied() if a != 0]


def _most(attempt: Attempt, plan: Plan) -> int:
    """How many steps go through the head together, at most."""
    bound = attempt.request.quadrature.internal_batch_size
    steps = len(_points(attempt))
    on_cpu = attempt.call.inputs[0].device.type == "cpu"
    together = -(-steps // plan.passes(steps, cached=on_cpu))
    return max(1, together if bound is None else min(together, bound // attempt.call.size))


def _rehearsed(attempt: Attempt, crossing: Crossing, most: int) -> bool:
    """Whether hoisting gives the gradient of the very run that it starts from.

    Twice, half of each: several steps at once are computed in another way than one.
    """
    twice = ((0.5, 1.0), (0.5, 1.0))
    ours = crossing.hoisted(attempt.call, twice, min(2, most)).mean_gradients
    with torch.enable_grad():
        outputs = explained(attempt.watched.output, attempt.call.target)
        theirs = torch.autograd.grad(
            outputs,
            attempt.leaves,
            torch.ones_like(outputs),
            retain_graph=True,
            create_graph=attempt.request.create_graph,
        )
    same = agree(ours, theirs, attempt.precision())
    if not same:
        logger.info("not hoisted: the gradients of its head are not the function's own")
    return same


def _with_start(attempt: Attempt, result: Hoisted) -> tuple[Tensor, ...]:
    """The mean gradients, with those at the baseline itself where a rule has a point there.

    At the baseline, homogeneous parts stand on their kink, and autograd's choice there is not
    the limit along the ray: such a point is left to the real function.
    """
    request = attempt.request
    points = [(w, a) for w, a in request.quadrature.applied() if a == 0]
    if not points:
        return result.mean_gradients
    start = gradients_at(
        request.forward_func, attempt.call, points, create_graph=request.create_graph
    )
    return tuple(map(torch.add, result.mean_gradients, start))


def _contradiction(attempt: Attempt, result: Hoisted) -> str:
    """How a call contradicts its plan; empty if it does not."""
    call, precision = attempt.call, attempt.precision()
    reduced = max(precision, reduced_precision_of(call.inputs))
    gradients = tuple(g.detach() for g in result.mean_gradients)
    differences = tuple(d.detach() for d in call.differences())
    products = times(gradients, differences)

    def bounds() -> Tensor:
        return (bounds_of(gradients, differences).sum() + result.bound).reshape(1)

    sizes = Sizes(reduced, bounds, lost_below(precision))
    if gap_exceeds(products, result.total, None, sizes):
        gap = sum(float(p.sum()) for p in products) - float(result.total)
        return NOT_EULER.format(abs(gap)) if math.isfinite(gap) else NOT_FINITE
    return differing(result.output, attempt.watched.output.detach(), reduced)


def differing(output: Tensor, real: Tensor, precision: float) -> str:
    """How what was computed in another way differs from the function's own; empty if it does not."""
    if real.shape != output.shape:
        return NOT_THE_FUNCTION
    gap = float(torch.linalg.vector_norm(output - real))
    if gap <= OUTPUT_UNITS * precision * float(torch.linalg.vector_norm(real)):
        return ""
    return NOT_THE_FUNCTION if math.isfinite(gap) else NOT_FINITE
