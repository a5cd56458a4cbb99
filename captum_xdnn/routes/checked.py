"""What both fast routes do with the gradients that they found: the checks, then the attributions."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_xdnn.checks.completeness import (
    COARSE,
    COARSE_SLACK,
    bounds_of,
    contradiction,
    loosest,
    relative_gaps,
)
from captum_xdnn.proof.certificate import Certificate
from captum_xdnn.proof.verdict import Verdict, values_of
from captum_xdnn.routes.attempt import Attempt
from captum_xdnn.routes.dependence import differs_in_the_middle
from captum_xdnn.routes.refinement import Taken
from captum_xdnn.routes.request import NOT_FINITE, Call, Outcome, Route

NOISE = 256.0
"""Units of rounding of the inputs: a function that is no larger is zero, but for rounding."""
ROUNDED = "the function is as small as the rounding of its inputs, so nothing can be checked of it"
NOT_THE_FUNCTION = "the recorded operations of the head return something else than the function"
MISSED = {
    "single_pass": "the attributions miss F(x) - F(b) by {}",
    "hoisted": "the attributions miss Euler's identity in the trunk by {}",
}
OUTPUT_UNITS = 2.0**11
"""Units of rounding by which outputs that are computed in two ways may differ; in coarser dtypes than float32, and
where its products are TF32, it is ``COARSE_SLACK``: of those so many are more than the output itself."""


@dataclass(frozen=True)
class Found:
    """What a fast route found, before it is checked."""

    route: Route
    gradients: tuple[Tensor, ...]  # the mean gradient on the ray for each input
    total: Tensor  # what the attributions add up to: for each example, shape ``(B,)``, or together
    middle: Callable[[], Tensor]  # gives what the route says of the output in the middle of the ray
    # gives what is to be subtracted of it, ``F(b)``; None where that is zero
    start: Callable[[], Tensor] | None = None
    bound: Tensor | None = None  # what a gap is measured against beside the attributions themselves
    # the function's output in the way of the route, if that computes it anew
    repeated: Tensor | None = None
    returned: Tensor | None = None  # what the function returned, for those who ask for it
    # gives gradients that are added without a check, if there are such
    rest: Callable[[], tuple[Tensor, ...]] | None = None


def conclude(attempt: Attempt, verdict: Verdict, certificate: Certificate, found: Found) -> Outcome:
    """The attributions, unless a check refuses them."""
    request, call = attempt.request, attempt.call
    refusal = differs_in_the_middle(attempt, verdict, found.middle, lambda: _size(call, found))
    if refusal:
        return Outcome(certificate, refusal=refusal)
    gradients, multiply = found.gradients, request.multiply_by_inputs
    with torch.enable_grad() if request.create_graph else nullcontext():
        attributions = attributed(gradients, call, multiply_by_inputs=multiply)
    taken = None
    if request.verify or request.tolerance is not None:
        products = attributions
        if not multiply:
            products = attributed(gradients, call, multiply_by_inputs=True)
        products = tuple([p.detach() for p in products])
        refusal = _contradicted(attempt, verdict, found, products) if request.verify else ""
        if refusal:
            return refused(attempt, certificate, refusal)
        if request.tolerance is not None and found.route == "single_pass":
            taken = _exact(products, found)
    if found.rest is not None:
        with torch.enable_grad() if request.create_graph else nullcontext():
            gradients = tuple(map(torch.add, gradients, found.rest()))
            attributions = attributed(gradients, call, multiply_by_inputs=multiply)
    return Outcome(certificate, attributions, found.returned, route=found.route, taken=taken)


def _exact(products: tuple[Tensor, ...], found: Found) -> Taken:
    """One point, and what rounding misses."""
    start = None if found.start is None else found.start()
    gaps = relative_gaps(products, found.total, start)
    return Taken(
        torch.ones(len(gaps), dtype=torch.int64), gaps, torch.ones(len(gaps), dtype=torch.bool)
    )


def refused(attempt: Attempt, certificate: Certificate, refusal: str) -> Outcome:
    """What comes of a call that contradicts its certificate."""
    if refusal in (NOT_FINITE, ROUNDED):
        return Outcome(certificate, refusal=refusal)
    attempt.memory.contradict(refusal)
    return Outcome(certificate, refusal=refusal, contradicted=True)


def attributed(
    gradients: tuple[Tensor, ...], call: Call, *, multiply_by_inputs: bool
) -> tuple[Tensor, ...]:
    """The attributions from the mean gradients; contiguous and in memory of their own, as Captum's."""
    if multiply_by_inputs:
        pairs = zip(gradients, call.differences(), strict=True)
        return tuple((g * d).contiguous() for g, d in pairs)
    return tuple(g.clone(memory_format=torch.contiguous_format) for g in gradients)


def trained(attempt: Attempt, verdict: Verdict) -> bool:
    """Whether the attributions are to be differentiated by tensors whose values the proof rests on."""
    if not attempt.request.create_graph or not verdict.relied:
        return False
    values = attempt.given.values
    relied = [n for n in verdict.relied if n.number in values]
    return any(t.requires_grad for t in values_of(relied, values))


def differing(output: Tensor, real: Tensor, precision: float) -> str:
    """How what was computed in another way differs from the function's own; empty if it does not."""
    if real.shape != output.shape:
        return NOT_THE_FUNCTION
    gap = float(torch.linalg.vector_norm(output - real))
    units = COARSE_SLACK if precision > COARSE else OUTPUT_UNITS
    if gap <= units * precision * float(torch.linalg.vector_norm(real)):
        return ""
    return NOT_THE_FUNCTION if math.isfinite(gap) else NOT_FINITE


def _contradicted(
    attempt: Attempt, verdict: Verdict, found: Found, products: tuple[Tensor, ...]
) -> str:
    """How a call contradicts its verdict; empty if completeness holds."""
    call, precision = attempt.call, attempt.precision()

    def bounds() -> Tensor:
        own = _bounds(call, found)
        return own if found.bound is None else (own.sum() + found.bound).reshape(1)

    start = None if found.start is None else found.start()
    gap = contradiction(products, found.total, start, bounds, precision)
    if gap is not None and gap.example is not None and not verdict.keeps_rows_apart:
        # Examples may meet (nodes of a graph): they are complete together.
        gap = contradiction(products, found.total.sum().reshape(1), start, bounds, precision)
    if gap is not None:
        if not math.isfinite(gap.size):
            return NOT_FINITE
        inputs = (d.detach().abs().max() for d in call.differences())
        nothing = NOISE * precision * max(map(float, inputs))
        largest = max(gap.size, float(found.total.detach().abs().max()))
        return ROUNDED if largest <= nothing else MISSED[found.route].format(gap)
    if found.repeated is None:
        return ""
    real = attempt.watched.output.detach()
    return differing(found.repeated, real, loosest(precision, (*call.inputs, real)))


def _bounds(call: Call, found: Found) -> Tensor:
    gradients = tuple([g.detach() for g in found.gradients])
    return bounds_of(gradients, tuple([d.detach() for d in call.differences()]))


def _size(call: Call, found: Found) -> float:
    """How large the numbers are that were added up to the output."""
    return float(_bounds(call, found).max() if found.bound is None else found.bound)
