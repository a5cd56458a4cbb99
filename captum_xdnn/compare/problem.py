"""What is attributed: one call in Captum's form, as every method gets it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from captum_xdnn._captum import (
    format_additional_forward_args,
    format_input_baseline,
    validate_input,
)
from captum_xdnn.compare.measuring import count_flops
from captum_xdnn.routes.request import Call
from captum_xdnn.routes.single_pass import explained


class Problem:
    """A function and a call of it, checked and formatted as Captum does, with its errors."""

    def __init__(
        self, forward_func: Any, inputs: Any, target: Any, baselines: Any, further: Any
    ) -> None:
        formatted, starts = format_input_baseline(inputs, baselines)
        validate_input(formatted, starts)
        arguments = format_additional_forward_args(further) or ()
        self.forward_func, self.inputs = forward_func, inputs
        self.call = Call(formatted, starts, target, arguments)
        self.device: torch.device = formatted[0].device
        with torch.no_grad():
            end, start = (
                explained(forward_func(*x, *arguments), target).double()
                for x in (formatted, self.call.starts())
            )
        self.gained = (end - start).reshape(-1)  # of each example

    def unformatted(self, tensors: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        """Tensors in the form of the inputs."""
        return tensors if isinstance(self.inputs, tuple) else tensors[0]

    @cached_property
    def pass_flops(self) -> int:
        """Operations of one forward pass, and one backward pass to the inputs that have gradients."""

        def one_pass() -> None:
            with torch.enable_grad():
                leaves = leaves_of(self.call.inputs)
                outputs = self.forward_func(*leaves, *self.call.arguments)
                chosen = explained(outputs, self.call.target)
                reached = [x for x in leaves if x.requires_grad]
                if reached:
                    torch.autograd.grad(chosen.sum(), reached, allow_unused=True)

        return count_flops(one_pass)


def leaves_of(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Copies of inputs that a method may do with as it likes, with gradients where there can be."""
    copies = (x.detach().clone() for x in inputs)
    return tuple(x.requires_grad_(x.is_floating_point() or x.is_complex()) for x in copies)
