"""The fast routes: a single pass where that is exact, else hoisting, else nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from captum_xdnn.attr.call import Call
from captum_xdnn.attr.guard import Sizes, bounds_of, gap_exceeds
from captum_xdnn.attr.outcome import FLOAT32, NOT_FINITE, Outcome, Request, rows, times
from captum_xdnn.attr.rounding import lost_below, precision_of, reduced_precision_of
from captum_xdnn.attr.single_pass import Pass, select, single_pass
from captum_xdnn.homogeneity.analysis import Analysis
from captum_xdnn.homogeneity.calls import known_baseline
from captum_xdnn.homogeneity.knowledge import Knowledge
from captum_xdnn.homogeneity.limits import Unavailable
from captum_xdnn.homogeneity.remembered import knowledge_of


def fast_route(request: Request) -> Outcome:
    """Attribute a call by the fastest route that is proved, if there is one.

    Args:
        request: The call and what is wanted.
    """
    knowledge = knowledge_of(request.forward_func)
    parts = request.parts()
    analyses = [
        knowledge.analyse(
            request.forward_func,
            part.inputs,
            part.baselines,
            part.arguments,
            patient=not request.hoist,
        )
        for part in parts
    ]
    if all(analysis.certificate.homogeneous for analysis in analyses):
        return _single_pass_route(request, knowledge, analyses)
    if request.hoist and all(analysis.plan is not None for analysis in analyses):
        # Needs what only a traced function has made Python import.
        from captum_xdnn.attr.hoisting import hoisted_route

        return hoisted_route(request, knowledge, analyses)
    refused = next(a for a in analyses if not a.certificate.homogeneous)
    return Outcome(refused.certificate, traced=refused.traced is not None)


def _single_pass_route(request: Request, knowledge: Knowledge, analyses: list[Analysis]) -> Outcome:
    """One forward and one backward pass, checked against completeness."""
    forward_func, call, parts = request.forward_func, request.call, request.parts()
    certificate, create_graph = analyses[-1].certificate, request.create_graph
    if any(a.mixes_examples() for a in analyses):
        return Outcome(certificate, refusal=MIXED, traced=False)
    if create_graph and any(t.requires_grad for a in analyses for t in a.relied):
        return Outcome(certificate, refusal=TRAINED.format(", ".join(certificate.relied)))
    passes = [
        single_pass(
            forward_func,
            c,
            a.certificate.degree or Fraction(1),
            create_graph=create_graph,
            piecewise_linear=create_graph and a.is_piecewise_linear(),
        )
        for c, a in zip(parts, analyses, strict=True)
    ]
    with torch.enable_grad() if create_graph else nullcontext():
        gradients = rows([p.mean_gradients for p in passes])
        attributions = gradients
        if request.multiply_by_inputs:
            attributions = times(gradients, call.differences())
        returned = _whole([p.returned for p in passes])
    if request.verify:
        products = attributions
        if not request.multiply_by_inputs:
            products = times(gradients, call.differences())
        products = tuple(p.detach() if p.requires_grad else p for p in products)
        ends = _ends(forward_func, parts, analyses, passes)
        refusal = _contradiction(call, analyses, gradients, products, ends)
        if refusal == NOT_FINITE:
            return Outcome(certificate, refusal=refusal)
        if refusal:
            knowledge.drop(refusal)
            return Outcome(certificate, refusal=refusal, contradicted=True)
    return Outcome(certificate, attributions, returned, route="single_pass")


MIXED = "the function takes one batch size only and does not return a row for each example"
TRAINED = (
    "the proof rests on the values of tensors that require a gradient ({}); the derivative of the "
    "attributions by them is not that of the single pass. Call requires_grad_(False) on them, or "
    "leave create_graph out"
)


def _ends(
    forward_func: Callable[..., Any],
    chunks: list[Call],
    analyses: list[Analysis],
    passes: list[Pass],
) -> tuple[Tensor, Tensor | None]:
    """``F(x)`` and ``F(b)`` of the whole call; None where ``F(b)`` is zero."""
    outputs = _joined([p.outputs for p in passes])
    if not any(a.certificate.affine for a in analyses):
        return outputs, None
    pairs = zip(chunks, analyses, strict=True)
    return outputs, _joined([_value_at_baseline(forward_func, c, a) for c, a in pairs])


def _contradiction(
    call: Call,
    analyses: list[Analysis],
    gradients: tuple[Tensor, ...],
    products: tuple[Tensor, ...],
    ends: tuple[Tensor, Tensor | None],
) -> str:
    """How the passes contradict their certificates; empty if completeness holds."""
    outputs, start = ends
    coarsest = max(a.coarsest for a in analyses)
    precision = precision_of(call.inputs, coarsest)

    def bounds() -> Tensor:
        return bounds_of(gradients, call.differences())

    sizes = Sizes(precision, bounds, lost_below(precision))
    if not gap_exceeds(products, outputs, start, sizes):
        return ""
    sizes = Sizes(reduced_precision_of(call.inputs), bounds)
    if sizes.precision > precision >= FLOAT32 and not gap_exceeds(products, outputs, start, sizes):
        return ""
    gained = outputs.sum() if start is None else (outputs - start).sum()
    gap = sum(float(product.sum()) for product in products) - float(gained)
    if not math.isfinite(gap):
        return NOT_FINITE
    return f"the attributions miss F(x) - F(b) by {abs(gap):.3g}"


def _value_at_baseline(forward_func: Callable[..., Any], call: Call, analysis: Analysis) -> Tensor:
    """``F(b)``, from the graph where it can be read off, else by a forward pass."""
    starts = [known_baseline(b) for b in call.baselines]
    try:
        value = analysis.value_at_baseline(call.size, starts, call.tensor_arguments())
    except Unavailable:
        pairs = zip(call.inputs, call.baselines, strict=True)
        with torch.no_grad():
            value = forward_func(*(torch.zeros_like(x) + b for x, b in pairs), *call.arguments)
    return select(value, call.target).detach()


def _whole(parts: list[Tensor]) -> Tensor | None:
    """The rows that the function returned for consecutive parts; None where it returns none."""
    if len(parts) == 1:
        return parts[0]
    return torch.cat(parts) if all(part.dim() for part in parts) else None


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat([part.reshape(-1) for part in parts])
