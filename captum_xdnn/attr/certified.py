"""The certified route: a single pass where a certificate allows it and the guard confirms it."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from captum_xdnn.attr.call import Call
from captum_xdnn.attr.guard import Sizes, bounds_of, gap_exceeds
from captum_xdnn.attr.rounding import lost_below, precision_of, reduced_precision_of
from captum_xdnn.attr.single_pass import Pass, select, single_pass
from captum_xdnn.homogeneity.analysis import Analysis
from captum_xdnn.homogeneity.certificate import Certificate
from captum_xdnn.homogeneity.knowledge import knowledge_of, known_baseline
from captum_xdnn.homogeneity.limits import Unavailable


@dataclass(frozen=True)
class Outcome:
    """What came of trying a single pass.

    Attributes:
        certificate: The certificate that was asked for; None if none was.
        attributions: The exact attributions; None where Captum's code has to run.
        refusal: Why there are none, where it is not the certificate that refuses.
        contradicted: Whether a certificate allowed the pass and the guard refused it.
        traced: Whether there is a graph of the function; where there is none, the call may be
            wrong.
    """

    certificate: Certificate | None = None
    attributions: tuple[Tensor, ...] | None = None
    refusal: str = ""
    contradicted: bool = False
    traced: bool = True

    @property
    def reason(self) -> str:
        """Why there are no attributions; written only when asked for, it is a whole report."""
        return self.refusal or str(self.certificate)


def certified_single_pass(
    forward_func: Callable[..., Any],
    call: Call,
    *,
    most: int,
    multiply_by_inputs: bool,
    verify: bool,
    create_graph: bool,
) -> Outcome:
    """Attribute a call in one forward and one backward pass if that is proved exact.

    Args:
        forward_func: The function to explain.
        call: The call.
        most: The largest batch in one pass.
        multiply_by_inputs: Whether to multiply the mean gradient by ``x - b``.
        verify: Whether to check completeness.
        create_graph: Whether the attributions can be differentiated.
    """
    knowledge = knowledge_of(forward_func)
    chunks = [call] if call.size <= most else list(call.chunks(most))
    analyses = [knowledge.analyse(forward_func, c.inputs, c.baselines, c.arguments) for c in chunks]
    for analysis in analyses:
        if not analysis.certificate.homogeneous:
            return Outcome(analysis.certificate, traced=analysis.traced is not None)
    certificate = analyses[-1].certificate
    if any(a.traced is not None and a.traced.mixes_examples() for a in analyses):
        return Outcome(certificate, refusal=MIXED, traced=False)
    if create_graph and any(t.requires_grad for a in analyses for t in a.relied):
        return Outcome(certificate, refusal=TRAINED.format(", ".join(certificate.relied)))
    passes = [
        single_pass(forward_func, c, a.certificate.degree or Fraction(1), create_graph=create_graph)
        for c, a in zip(chunks, analyses, strict=True)
    ]
    with torch.enable_grad() if create_graph else nullcontext():
        gradients = _rows([p.mean_gradients for p in passes])
        attributions = gradients
        if multiply_by_inputs:
            attributions = _times(gradients, call.differences())
    if verify:
        products = attributions
        if not multiply_by_inputs:
            products = _times(gradients, call.differences())
        products = tuple(p.detach() if p.requires_grad else p for p in products)
        ends = _ends(forward_func, chunks, analyses, passes)
        refusal = _contradiction(call, analyses, gradients, products, ends)
        if refusal == NOT_FINITE:
            return Outcome(certificate, refusal=refusal)
        if refusal:
            knowledge.drop(refusal)
            return Outcome(certificate, refusal=refusal, contradicted=True)
    return Outcome(certificate, attributions)


FLOAT32 = torch.finfo(torch.float32).eps
NOT_FINITE = "the output or a gradient is not finite"
MIXED = "the function takes one batch size only and does not return a row for each example"
TRAINED = (
    "the proof rests on the values of tensors that require a gradient ({}); the derivative of the "
    "attributions by them is not that of the single pass. Call requires_grad_(False) on them, or "
    "leave create_graph out"
)


def _times(gradients: tuple[Tensor, ...], differences: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(g * d for g, d in zip(gradients, differences, strict=True))


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
    coarsest = max(a.traced.coarsest for a in analyses if a.traced is not None)
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


def _rows(parts: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """The tensors of consecutive chunks as those of one batch."""
    return parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat([part.reshape(-1) for part in parts])
