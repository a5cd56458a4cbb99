"""The rehearsal: before a copy of a function is used, it has to reproduce the real gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_xdnn.attr.call import Call
from captum_xdnn.attr.guard import entries
from captum_xdnn.attr.hoisted import Nodes, hoisted
from captum_xdnn.attr.outcome import NOT_FINITE
from captum_xdnn.attr.quadrature import gradients_at
from captum_xdnn.homogeneity import backward
from captum_xdnn.homogeneity.plan import Plan

NODES: Nodes = ((0.5, 1.0), (0.5, 0.375))
"""The input itself, and a place inside of the ray: what is custom may act on either alone."""
COARSE, FINE = 2.0**-7, 2.0**-24
"""How far the gradients of an example may differ, in parts of their sum, in float32 and float64.

Entries on a kink of the function (a unit near zero, two equal maxima) fall to one side or the
other by rounding, in Captum's own batches of different size, too.
"""
OUTPUT_UNITS = 2.0**11
"""Units of rounding by which a copy's output may differ from the function's, in parts of it."""
NOT_THE_FUNCTION = "a copy of the function returns something else than the function"


def rehearse(
    plan: Plan,
    forward_func: Callable[..., Any],
    call: Call,
    precision: float,
    bound: int | None = None,
) -> str:
    """Compare hoisting with the real function at two places of the ray.

    Args:
        plan: The plan.
        forward_func: The real function.
        call: The call.
        precision: The unit of rounding of the computation.
        bound: The largest batch in one pass; None for any.

    Returns:
        Why the plan may not be used; empty if it reproduces the real gradients.
    """
    try:
        most = 1 if bound is not None and bound < 2 * call.size else 2
        ours = hoisted(plan, call, NODES, most=most, graph=False)
    except (RuntimeError, NotImplementedError, TypeError, ValueError, IndexError) as error:
        return f"a copy of it cannot be differentiated: {type(error).__name__}: {error}"
    with torch.enable_grad():
        output = forward_func(*call.leaves(keep_graph=False), *call.arguments)
    flaw = differing(ours.output, output, precision)
    if flaw or backward.custom_functions_of(output):
        return flaw or ", ".join(backward.custom_functions_of(output))
    theirs = gradients_at(forward_func, call, NODES)
    tolerance = FINE if precision < 2.0**-40 else COARSE
    if all(_agree(a, b, tolerance) for a, b in zip(ours.mean_gradients, theirs, strict=True)):
        return ""
    return "the gradients of a copy of it are not the function's own"


def differing_output(
    output: Tensor, forward_func: Callable[..., Any], call: Call, precision: float
) -> str:
    """How a copy's output at the inputs differs from the function's; empty if it does not.

    Args:
        output: What the copy returns.
        forward_func: The real function; it is called once.
        call: The call.
        precision: The unit of rounding of the computation.
    """
    with torch.no_grad():
        real = forward_func(*(x.detach() for x in call.inputs), *call.arguments)
    return differing(output, real, precision)


def differing(output: Tensor, real: Any, precision: float) -> str:
    """How a copy's output differs from the function's own; empty if it does not.

    Args:
        output: What the copy returns.
        real: What the function returns.
        precision: The unit of rounding of the computation.
    """
    if isinstance(real, Tensor):
        real = real.detach()
    if not isinstance(real, Tensor) or real.shape != output.shape:
        return NOT_THE_FUNCTION
    gap = float(torch.linalg.vector_norm(output - real))
    if gap <= OUTPUT_UNITS * precision * float(torch.linalg.vector_norm(real)):
        return ""
    return NOT_THE_FUNCTION if math.isfinite(gap) else NOT_FINITE


def _agree(ours: Tensor, theirs: Tensor, tolerance: float) -> bool:
    """Whether the gradients of each example are the same up to rounding."""
    ours, theirs = entries(ours), entries(theirs)
    gaps = (ours - theirs).abs().sum(1)
    return bool((gaps <= tolerance * theirs.abs().sum(1)).all())
