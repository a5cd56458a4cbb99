"""Captum's own integration, in a form that can be differentiated again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from captum_xdnn._captum import IntegratedGradients, compute_gradients, run_forward
from captum_xdnn.routes.gradients import by_rows, gradient_of_each
from captum_xdnn.routes.request import Call, Quadrature


def differentiable_quadrature(
    forward_func: Callable[..., Any],
    call: Call,
    quadrature: Quadrature,
    *,
    multiply_by_inputs: bool,
) -> tuple[Tensor, ...]:
    """Captum's Integrated Gradients with ``create_graph=True``.

    The steps, weights and sums are Captum's; only its gradient function is replaced. With
    ``internal_batch_size`` the chunks are added with their graphs, which Captum would cut, so the
    memory for the graph grows with ``n_steps`` all the same.
    """
    n_steps, bound = quadrature.n_steps, quadrature.internal_batch_size
    captum = IntegratedGradients(forward_func, multiply_by_inputs)
    captum.gradient_func = _gradients_with_graph
    sizes, alphas = quadrature.nodes()
    steps = n_steps if bound is None else max(1, bound // call.size)
    total: tuple[Tensor, ...] | None = None
    with torch.enable_grad():
        for start in range(0, n_steps, steps):
            stop = min(start + steps, n_steps)
            part = captum._attribute(
                inputs=call.inputs,
                baselines=call.baselines,
                target=call.target,
                additional_forward_args=call.arguments or None,
                n_steps=stop - start,
                method=quadrature.method,
                step_sizes_and_alphas=(sizes[start:stop], alphas[start:stop]),
            )
            total = part if total is None else tuple(map(torch.add, total, part))
    if total is None:
        message = f"n_steps must be a positive integer, found {n_steps}"
        raise RuntimeError(message)
    return total


def gradients_at(
    forward_func: Callable[..., Any],
    call: Call,
    nodes: Sequence[tuple[float, float]],
    *,
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    """Captum's weighted sum of the gradients at some places of the ray, one pass for each.

    The places are pairs of a weight and of ``a``, the baseline at 0 and the input at 1.
    """
    captum = IntegratedGradients(forward_func, multiply_by_inputs=False)
    captum.gradient_func = _gradients_with_graph if create_graph else by_rows(compute_gradients)
    total: tuple[Tensor, ...] = ()
    for weight, place in nodes:
        part = captum._attribute(
            inputs=call.inputs,
            baselines=call.baselines,
            target=call.target,
            additional_forward_args=call.arguments or None,
            n_steps=1,
            step_sizes_and_alphas=([weight], [place]),
        )
        total = tuple(map(torch.add, total, part)) if total else part
    return total


def _gradients_with_graph(
    forward_fn: Callable[..., Any],
    inputs: Any,
    target_ind: Any = None,
    additional_forward_args: Any = None,
) -> tuple[Tensor, ...]:
    """``captum._utils.gradient.compute_gradients`` with ``create_graph=True``."""
    outputs = outputs_of(forward_fn, inputs, target_ind, additional_forward_args)
    return gradient_of_each(outputs, inputs, create_graph=True)


def outputs_of(forward_fn: Callable[..., Any], inputs: Any, target: Any, arguments: Any) -> Tensor:
    """The outputs that Captum differentiates, one for each row, or Captum's error."""
    outputs: Any = by_rows(run_forward)(forward_fn, inputs, target, arguments)
    if outputs[0].numel() != 1:
        message = (
            "Target not provided when necessary, cannot take gradient with respect to multiple "
            "outputs."
        )
        raise AssertionError(message)
    found: Tensor = outputs
    return found
