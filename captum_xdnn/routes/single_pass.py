"""The single pass of a proved run, checked against completeness."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from captum_xdnn._torch import gradients_from
from captum_xdnn.checks.gradient_law import NOT_ITS_LAW, PLACES, agree, factor_at
from captum_xdnn.checks.second_derivative import close_first_pass
from captum_xdnn.proof.baseline_values import Unavailable
from captum_xdnn.proof.certificate import Certificate
from captum_xdnn.proof.verdict import Verdict
from captum_xdnn.routes.attempt import Attempt
from captum_xdnn.routes.captum import gradients_at
from captum_xdnn.routes.checked import Found, attributed, conclude, refused, trained
from captum_xdnn.routes.gradients import seed_of, selected
from captum_xdnn.routes.request import Outcome

MIXED = "the function does not return a row for each example"
TRAINED = (
    "the proof rests on the values of tensors that require a gradient ({}); the derivative of the "
    "attributions by them is not that of the single pass. Call requires_grad_(False) on them, or "
    "leave create_graph out"
)


def single_pass(attempt: Attempt, verdict: Verdict, certificate: Certificate) -> Outcome:
    """One forward and one backward pass."""
    request, call, watched = attempt.request, attempt.call, attempt.watched
    output: Tensor = watched.output
    if output.shape[:1] != (call.size,) and call.size > 1 and output.numel() != 1:
        return Outcome(certificate, refusal=MIXED, ran=False)
    if trained(attempt, verdict):
        return Outcome(certificate, refusal=TRAINED.format(", ".join(certificate.relied)))
    custom, degree = attempt.own_code(), verdict.degree or Fraction(1)
    found = differentiated(
        output,
        attempt.leaves,
        call.target,
        degree,
        create_graph=request.create_graph,
        piecewise_linear=request.create_graph and not custom and verdict.is_piecewise_linear,
    )
    if not request.create_graph:
        watched.output = found.returned
    if custom and not _obeys_law(attempt, found, degree):
        return refused(attempt, certificate, f"{NOT_ITS_LAW}: {', '.join(custom)}")
    outcome = conclude(
        attempt,
        verdict,
        certificate,
        Found(
            "single_pass",
            found.mean_gradients,
            found.outputs,
            middle=lambda: _in_the_middle(attempt, verdict, found.returned.detach()),
            start=(lambda: _start(attempt, verdict)) if verdict.affine else None,
            returned=found.returned,
        ),
    )
    looked_at = any(node.bounded for node in verdict.graph.nodes)  # another input may differ there
    if not request.verify and outcome.attributions is not None and not looked_at:
        attempt.memory.prove(attempt.form_by_value(), verdict)
    return outcome


def unwatched(attempt: Attempt) -> Outcome | None:
    """The single pass of a call of a form that was proved, for those who want no check."""
    memory, call, request = attempt.memory, attempt.call, attempt.request
    if any(isinstance(s, Tensor) or s != 0 for s in attempt.starts):
        return None  # a proof may rest on the baseline's values
    if memory.rolls and request.makes_several_passes():
        return None
    verdict = memory.proved.get(attempt.form_by_value())
    certificate = None if verdict is None else memory.certificates.get(verdict)
    if verdict is None or certificate is None:
        return None
    with nullcontext() if torch.is_grad_enabled() else torch.enable_grad():
        leaves = call.leaves(keep_graph=request.create_graph)
        output = request.forward_func(*leaves, *call.further())
    degree = verdict.degree or Fraction(1)
    found = differentiated(output, leaves, call.target, degree, create_graph=request.create_graph)
    with torch.enable_grad() if request.create_graph else nullcontext():
        attributions = attributed(
            found.mean_gradients, call, multiply_by_inputs=request.multiply_by_inputs
        )
    return Outcome(certificate, attributions, found.returned, route="single_pass")


def _obeys_law(attempt: Attempt, found: Pass, degree: Fraction) -> bool:
    """Whether the gradient elsewhere on the ray is what the law says of that at the input."""
    inputs = tuple(x.detach().requires_grad_(x.requires_grad) for x in attempt.call.inputs)
    call = replace(attempt.call, inputs=inputs)
    ours = tuple(g * float(degree) for g in found.mean_gradients)
    for place in PLACES:
        there = gradients_at(attempt.request.forward_func, call, ((1.0, place),))
        if not agree(ours, there, attempt.precision(), factor_at(place, degree)):
            return False
    return True


def _in_the_middle(attempt: Attempt, verdict: Verdict, output: Tensor) -> Tensor:
    """What a verdict says of the output in the middle of the ray."""
    if not verdict.affine:
        middle: Tensor = output * 0.5 ** float(verdict.degree or 1)
    else:
        middle = (output + _value_at_baseline(attempt, verdict)) / 2
    return middle


def _value_at_baseline(attempt: Attempt, verdict: Verdict) -> Tensor:
    """What the function returns at the baseline, from the run where it can be read off."""
    try:
        value: Tensor = verdict.value_at_baseline(attempt.given)
    except Unavailable:
        value = attempt.at_baseline()
    return value


def _start(attempt: Attempt, verdict: Verdict) -> Tensor:
    """The explained outputs at the baseline."""
    return select(_value_at_baseline(attempt, verdict), attempt.call.target).detach()


@dataclass(frozen=True)
class Pass:
    """What one forward and one backward pass give."""

    outputs: Tensor  # the explained outputs at the inputs, detached
    # ``1/k`` of the gradient for each input: the gradient's mean on the ray
    mean_gradients: tuple[Tensor, ...]
    returned: Tensor  # all that the function returned, with its graph where it was asked for


def differentiated(
    returned: Any,
    leaves: tuple[Tensor, ...],
    target: Any,
    degree: Fraction,
    *,
    create_graph: bool,
    piecewise_linear: bool = False,
) -> Pass:
    r"""Compute :math:`\tfrac{1}{k} \partial F / \partial x` from a run at the inputs (``leaves``).

    Differentiating that again is cheaper where the function is known to be piecewise linear.

    Raises:
        AssertionError: If the output has several entries per example and no target chooses one.
        RuntimeError: If an input is not used, or the output is complex.
    """
    with nullcontext() if torch.is_grad_enabled() else torch.enable_grad():
        outputs = explained(returned, target)
        again = create_graph and not piecewise_linear  # else all is known of it
        seed = seed_of(outputs, torch.ones_like(outputs), create_graph=again)
        gradients = gradients_from((outputs,), leaves, (seed,), create_graph=create_graph)
        if create_graph and piecewise_linear:
            close_first_pass(outputs, gradients, leaves)
        if degree != 1:
            gradients = tuple(gradient / float(degree) for gradient in gradients)
        wide = tuple(widened(gradient) for gradient in gradients)
    return Pass(outputs.detach(), wide, returned if create_graph else returned.detach())


def explained(output: Any, target: Any) -> Tensor:
    """The entries of an output that are explained, one for each example.

    Raises:
        AssertionError: If the output has several entries per example and no target chooses one.
        RuntimeError: If the output is complex.
    """
    outputs = select(output, target)
    if outputs[0].numel() != 1:
        message = (
            "Target not provided when necessary, cannot take gradient with respect to multiple "
            "outputs."
        )
        raise AssertionError(message)
    if outputs.is_complex():
        message = (
            f"grad can be implicitly created only for real scalar outputs but got {outputs.dtype}"
        )
        raise RuntimeError(message)
    return outputs


def select(output: Any, target: Any) -> Tensor:
    """Captum's choice of the explained entries, without waiting for a target on a GPU."""
    lone = isinstance(target, Tensor) and target.is_cuda and target.numel() == 1
    if (
        lone
        and output.device == target.device
        and output.dim() > 1
        and target.dtype in (torch.int32, torch.int64)
    ):
        return column(output, target)
    explained: Tensor = selected(output, target)
    return explained


def column(output: Tensor, index: Tensor) -> Tensor:
    """``output[:, index]`` without reading the index; NaN where Captum raises an IndexError."""
    count = output.shape[1]
    place = index.reshape(1) % count
    exists = (index >= -count) & (index < count)
    flaw = torch.where(exists, 1.0, torch.nan).reshape(())
    return output.index_select(1, place).squeeze(1) * flaw


def widened(gradient: Tensor) -> Tensor:
    """Captum multiplies by float32 step weights: half precision comes out as float32."""
    return gradient.float() if gradient.dtype in (torch.float16, torch.bfloat16) else gradient
