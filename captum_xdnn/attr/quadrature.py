"""Captum's own integration, in a form that can be differentiated again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_xdnn.attr._captum import IntegratedGradients, approximation_parameters, run_forward
from captum_xdnn.attr.call import Call


def differentiable_quadrature(
    forward_func: Callable[..., Any],
    call: Call,
    *,
    multiply_by_inputs: bool,
    n_steps: int,
    method: str,
    internal_batch_size: int | None,
) -> tuple[Tensor, ...]:
    """Captum's Integrated Gradients with ``create_graph=True``.

    The steps, weights and sums are Captum's; only its gradient function is replaced. With
    ``internal_batch_size`` the chunks are added with their graphs, which Captum would cut, so the
    memory for the graph grows with ``n_steps`` all the same.

    Args:
        forward_func: The function.
        call: The call.
        multiply_by_inputs: Whether to multiply by ``x - b``.
        n_steps: Number of steps.
        method: Name of the quadrature rule.
        internal_batch_size: Bound of the batch in one forward pass.
    """
    captum = IntegratedGradients(forward_func, multiply_by_inputs)
    captum.gradient_func = _gradients_with_graph
    sizes, alphas = (function(n_steps) for function in approximation_parameters(method))
    steps = n_steps
    if internal_batch_size is not None:
        steps = max(1, internal_batch_size // call.size)
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
                method=method,
                step_sizes_and_alphas=(sizes[start:stop], alphas[start:stop]),
            )
            total = part if total is None else tuple(map(torch.add, total, part))
    if total is None:
        message = f"n_steps must be a positive integer, found {n_steps}"
        raise RuntimeError(message)
    return total


def _gradients_with_graph(
    forward_fn: Callable[..., Any],
    inputs: Any,
    target_ind: Any = None,
    additional_forward_args: Any = None,
) -> tuple[Tensor, ...]:
    """``captum._utils.gradient.compute_gradients`` with ``create_graph=True``."""
    outputs: Any = run_forward(forward_fn, inputs, target_ind, additional_forward_args)
    if outputs[0].numel() != 1:
        message = (
            "Target not provided when necessary, cannot take gradient with respect to multiple "
            "outputs."
        )
        raise AssertionError(message)
    gradients: tuple[Tensor, ...] = torch.autograd.grad(
        torch.unbind(outputs), inputs, create_graph=True
    )
    return gradients
