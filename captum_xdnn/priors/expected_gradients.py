"""Expected Gradients: what attribution priors were trained with before one pass was enough."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from captum_xdnn._captum import (
    ExpansionTypes,
    expand_additional_forward_args,
    expand_target,
    format_additional_forward_args,
)
from captum_xdnn.checks.second_derivative import check_differentiable
from captum_xdnn.priors.attributions import parts_of, positive_integer
from captum_xdnn.recording.compiling import not_compiled, uncompiled
from captum_xdnn.routes.captum import gradients_at
from captum_xdnn.routes.request import Call


@not_compiled
def expected_gradients(
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    references: Tensor | tuple[Tensor, ...],
    target: Any = None,
    n_references: int = 1,
    create_graph: bool = True,
    *,
    additional_forward_args: Any = None,
    generator: torch.Generator | None = None,
) -> Tensor | tuple[Tensor, ...]:
    r"""Integrated Gradients with the baseline averaged over references, by drawing.

    .. math:: \mathrm{EG}_i = \frac{1}{K} \sum_{k=1}^{K} (x_i - r_{k i}) \,
        \frac{\partial F}{\partial z_i}\bigl(r_k + a_k (x - r_k)\bigr),
        \qquad r_k \sim R, \quad a_k \sim U(0, 1)

    for each example with draws of its own; :math:`K` forward and backward passes, in one batch.

    Args:
        forward_func: The function to explain, as in Captum.
        inputs: Tensor or tuple of tensors of shape ``(B, ...)``.
        references: For each of them a tensor of shape ``(R, ...)``, for example the training data;
            rows of several tensors belong together.
        target: Index of the explained output, in any of Captum's forms.
        n_references: Number of draws :math:`K` for each example.
        create_graph: Whether the result can be differentiated, as a loss on it must be.
        additional_forward_args: Further arguments of the function, as in Captum.
        generator: Source of the draws, on the CPU; None for torch's own.

    Returns:
        The attributions, tensor or tuple as the inputs, of their shapes.

    Raises:
        AssertionError: If the inputs or references are no tensor or tuple of tensors, or the target
            does not choose one output for each example, as in Captum.
        IndexError: If there is no such output, as in Captum.
        ValueError: If they are of no real floating dtype or have no entries, their numbers or shapes do
            not match, or ``n_references`` is no positive integer.
        NotImplementedError: With ``create_graph=True``, where an operation has no second
            derivative; the message names it.

    Source:
        Erion, Janizek, Sturmfels, Lundberg, Lee, *Improving Performance of Deep Learning Models
        with Axiomatic Attribution Priors and Expected Gradients* (2021), Equation 4.

    Example:
        >>> import torch
        >>> weight = torch.tensor([2.0, -1.0])
        >>> expected_gradients(lambda x: x @ weight, torch.tensor([[3.0, 5.0]]), torch.ones(4, 2))
        tensor([[ 4., -4.]])
    """
    parts, pools = parts_of(inputs, "inputs"), parts_of(references, "references")
    shapes = [tuple(p.shape[1:]) for p in parts], [tuple(p.shape[1:]) for p in pools]
    if shapes[0] != shapes[1]:
        message = f"references of shapes {shapes[1]} do not match inputs of shapes {shapes[0]}"
        raise ValueError(message)
    size = len(parts[0])
    n_references = positive_integer(n_references, "n_references")
    count = size * n_references
    rows = torch.randint(len(pools[0]), (count,), generator=generator)
    places = torch.rand(count, generator=generator)
    with torch.enable_grad() if create_graph else torch.no_grad():
        differences, points = [], []
        for part, pool in zip(parts, pools, strict=True):
            start = pool[rows.to(pool.device)].to(part.device, part.dtype)
            difference = part.repeat_interleave(n_references, 0) - start
            place = places.to(part.device, part.dtype).reshape(-1, *(1,) * (part.dim() - 1))
            differences.append(difference)
            points.append(start + place * difference)
        further = format_additional_forward_args(additional_forward_args)
        repeat = ExpansionTypes.repeat_interleave
        call = Call(
            tuple(points),
            (0,) * len(points),
            expand_target(target, n_references, repeat),
            expand_additional_forward_args(further, n_references, repeat) or (),
        )
        with uncompiled() if create_graph else nullcontext():
            gradients = gradients_at(forward_func, call, ((1.0, 1.0),), create_graph=create_graph)
        if create_graph:
            check_differentiable(gradients)
        attributions = tuple(
            (g * d).reshape(size, n_references, *d.shape[1:]).mean(1)
            for g, d in zip(gradients, differences, strict=True)
        )
    return attributions if isinstance(inputs, tuple) else attributions[0]
