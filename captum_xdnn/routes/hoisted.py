"""The hoisted route: taken where it pays, rehearsed at first, and checked at every call."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from captum_xdnn._torch import gradients_from
from captum_xdnn.checks.completeness import FLOAT32
from captum_xdnn.checks.gradient_law import agree
from captum_xdnn.errors import is_out_of_memory, without_frames
from captum_xdnn.proof.certificate import Certificate
from captum_xdnn.proof.verdict import Verdict
from captum_xdnn.routes.attempt import Attempt
from captum_xdnn.routes.captum import gradients_at
from captum_xdnn.routes.checked import Found, conclude, trained
from captum_xdnn.routes.plan import Choice, Plan, choice_of, is_certain, now, plan_of
from captum_xdnn.routes.refined_head import refined_in_head
from captum_xdnn.routes.refinement import Taken
from captum_xdnn.routes.repeated_head import Crossing, Hoisted
from captum_xdnn.routes.request import SLOWER, Outcome
from captum_xdnn.routes.single_pass import explained
from captum_xdnn.routes.sizes import bytes_of

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


def hoisted_route(attempt: Attempt, verdict: Verdict, certificate: Certificate) -> Outcome:
    """Attribute by Captum's points, the trunk running once."""
    request, memory = attempt.request, attempt.memory
    plan, nothing = plan_of(verdict), Outcome(certificate)
    if plan is None or trained(attempt, verdict) or attempt.precision() > FLOAT32:
        return nothing
    own = attempt.own_code()
    if own:
        return Outcome(certificate, refusal=f"{OWN_CODE}: {', '.join(own)}")
    choice = choice_of(verdict, request)
    certain = is_certain(plan.gain(request.quadrature.n_steps), request.call.inputs[0].device)
    if not choice.hoist(certain=certain):
        return _left_to_captum(choice, nothing)
    memory.keeps[attempt.form] = plan.keep
    if not plan.keep <= attempt.tape.kept.keys() and attempt.run(plan.keep) is not verdict:
        return nothing  # it runs otherwise each time
    found = _crossed(attempt, plan, choice, certain=certain)
    if found is None:
        return nothing
    crossing, (result, taken), most, seconds = found
    outcome = conclude(
        attempt,
        verdict,
        certificate,
        Found(
            "hoisted",
            result.mean_gradients,
            result.total,
            middle=lambda: crossing.output_at(0.5, together=most > 1),
            bound=result.bound,
            repeated=result.output,
            rest=_at_the_baseline(attempt) if taken is None else None,
        ),
    )
    outcome = replace(outcome, taken=taken)
    if outcome.attributions is not None:
        choice.note_hoisted(seconds + attempt.seconds)
    return outcome


def _integrated(
    attempt: Attempt, crossing: Crossing, plan: Plan, most: int
) -> tuple[Hoisted, Taken | None]:
    """The integral by the rule's points, or by as many as a tolerance needs, and what those took."""
    request, call = attempt.request, attempt.call
    if request.tolerance is None:
        return crossing.hoisted(call, _points(attempt), most), None
    plain, alone = crossing, not request.create_graph
    if not alone:
        plain = Crossing(plan, attempt.watched, attempt.leaves, graph=False)
    refined = refined_in_head(plain, plan, call, request.tolerance, most, alone=alone)
    if not alone:
        return crossing.hoisted(call, refined.points, most), refined.taken
    shapes = (speed.shape for speed in crossing.speeds())
    integrals = [v.reshape(s) for v, s in zip(refined.integrals, shapes, strict=True)]
    return crossing.led_back(integrals), refined.taken


def _crossed(
    attempt: Attempt, plan: Plan, choice: Choice, *, certain: bool
) -> tuple[Crossing, tuple[Hoisted, Taken | None], int, float] | None:
    """The integral over the head, how many steps went through it together, and the seconds it took."""
    start, stacks, most = time.perf_counter(), plan.stacks, min(_most(attempt, plan), choice.most)
    while True:
        failed: Exception | None = None
        try:
            graph = attempt.request.create_graph
            crossing = Crossing(plan, attempt.watched, attempt.leaves, graph=graph)
            result = _integrated(attempt, crossing, plan, most)
            end = time.perf_counter() if certain else now(attempt.call.inputs[0].device)
            choice.rehearsed = choice.rehearsed or _rehearsed(attempt, crossing, most)
        except ERRORS as error:  # Captum's code answers, or raises what is wrong with the call
            choice.rehearsed, failed = False, error if is_out_of_memory(error) else None
        if choice.rehearsed:
            return crossing, result, most, end - start
        if failed is not None:
            without_frames(failed)
        if failed is not None and most > 1:
            choice.most = most = most // 2
        elif plan.stacks:
            plan.stacks = False  # torch.vmap bears what takes the batch at its word
        else:
            plan.stacks = stacks  # neither way: it may be the call (a wrong target)
            return None


def _left_to_captum(choice: Choice, nothing: Outcome) -> Outcome:
    """What comes of a call that is not hoisted: Captum's way is timed, unless that has been decided."""
    if choice.is_slower:
        return replace(nothing, refusal=SLOWER)
    return replace(nothing, timed=choice.note_captum)


def _points(attempt: Attempt) -> list[tuple[float, float]]:
    """Weights and places, without one at the baseline itself."""
    return [(w, a) for w, a in attempt.request.quadrature.applied() if a != 0]


def _most(attempt: Attempt, plan: Plan) -> int:
    """How many steps go through the head together, at most."""
    bound = attempt.request.quadrature.internal_batch_size
    steps = len(_points(attempt))
    on_cpu = attempt.call.inputs[0].device.type == "cpu"
    together = -(-steps // plan.passes(steps, cached=on_cpu))
    if attempt.request.max_memory is not None:
        together = min(together, attempt.request.max_memory // bytes_of(plan.split.head))
    return max(1, together if bound is None else min(together, bound // attempt.call.size))


def _rehearsed(attempt: Attempt, crossing: Crossing, most: int) -> bool:
    """Whether hoisting gives the gradient of the very run that it starts from.

    Twice, half of each: several steps at once are computed in another way than one.
    """
    twice = ((0.5, 1.0), (0.5, 1.0))
    ours = crossing.hoisted(attempt.call, twice, min(2, most)).mean_gradients
    with torch.enable_grad():
        outputs = explained(attempt.watched.output, attempt.call.target)
        theirs = gradients_from(
            (outputs,),
            attempt.leaves,
            (torch.ones_like(outputs),),
            retain_graph=True,
            create_graph=attempt.request.create_graph,
        )
    same = agree(ours, theirs, attempt.precision())
    if not same:
        logger.info("not hoisted: the gradients of its head are not the function's own")
    return same


def _at_the_baseline(attempt: Attempt) -> Callable[[], tuple[Tensor, ...]] | None:
    """Gives the gradients at the baseline itself where a rule has a point there.

    At the baseline, homogeneous parts stand on their kink, and autograd's choice there is not
    the limit along the ray: such a point is left to the real function.
    """
    request = attempt.request
    points = [(w, a) for w, a in request.quadrature.applied() if a == 0]
    if not points:
        return None
    return lambda: gradients_at(
        request.forward_func, attempt.call, points, create_graph=request.create_graph
    )
