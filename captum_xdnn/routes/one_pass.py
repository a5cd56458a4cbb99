"""The single pass: one forward and one backward pass at the input."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from captum_xdnn._captum import select_targets
from captum_xdnn.checks.second_derivative import close_first_pass


@dataclass(frozen=True)
class Pass:
    """What one forward and one backward pass give.

    Attributes:
        outputs: The explained outputs at the inputs, detached.
        mean_gradients: ``1/k`` of the gradient for each input: the gradient's mean on the ray.
        returned: All that the function returned, with its graph where it was asked for.
    """

    outputs: Tensor
    mean_gradients: tuple[Tensor, ...]
    returned: Tensor


def differentiated(
    returned: Any,
    leaves: tuple[Tensor, ...],
    target: Any,
    degree: Fraction,
    *,
    create_graph: bool,
    piecewise_linear: bool = False,
) -> Pass:
    r"""Compute :math:`\tfrac{1}{k} \partial F / \partial x` from a run at the inputs.

    Args:
        returned: What the function returned.
        leaves: The inputs that it was given.
        target: As in Captum.
        degree: The degree :math:`k` of the certificate.
        create_graph: Whether the gradients can be differentiated again.
        piecewise_linear: Whether the function is known to be, which makes that cheaper.

    Raises:
        AssertionError: If the output has several entries per example and no target chooses one.
        RuntimeError: If an input is not used, or the output is complex.
    """
    with nullcontext() if torch.is_grad_enabled() else torch.enable_grad():
        outputs = explained(returned, target)
        gradients = torch.autograd.grad(
            outputs, leaves, torch.ones_like(outputs), create_graph=create_graph
        )
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
        message = f"gradients are taken of real outputs only, found {outputs.dtype}"
        raise RuntimeError(message)
    return outputs


def select(output: Any, target: Any) -> Tensor:
    """Captum's choice of the explained entries, without waiting for a target on a GPU."""
    lone = isinstance(target, Tensor) and target.is_cuda and target.numel() == 1
    if lone and output.dim() > 1 and target.dtype in (torch.int32, torch.int64):
        return column(output, target)
    selected: Tensor = select_targets(output, target)
    return selected


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
