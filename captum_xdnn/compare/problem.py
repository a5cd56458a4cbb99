"""What is attributed: one call in Captum's form, as every method gets it."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from captum_xdnn._captum import (
    format_additional_forward_args,
    format_input_baseline,
    validate_input,
)
from captum_xdnn.compare.measuring import count_flops
from captum_xdnn.recording.contents import is_same
from captum_xdnn.recording.places import modules_of
from captum_xdnn.recording.state import put_back_tensors
from captum_xdnn.recording.tensors import saved_of
from captum_xdnn.routes.request import Call
from captum_xdnn.routes.single_pass import explained


class Problem:
    """A function and a call of it, checked and formatted as Captum does, with its errors."""

    def __init__(
        self,
        forward_func: Any,
        inputs: Any,
        target: Any,
        baselines: Any,
        further: Any,
        layer: nn.Module | None = None,
    ) -> None:
        formatted, starts = format_input_baseline(inputs, baselines)
        validate_input(formatted, starts)
        arguments = format_additional_forward_args(further) or ()
        self.forward_func, self.inputs, self.layer = forward_func, inputs, layer
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

    def unfit(self, given: tuple[Tensor, ...]) -> str:
        """Why attributions are none of this problem's: of its inputs, or if it has a layer, of any shape."""
        shapes, expected = ([tuple(x.shape) for x in xs] for xs in (given, self.call.inputs))
        if self.layer is not None or shapes == expected:
            return ""
        return f"attributions of shapes {shapes}, not {expected}"

    def gap_of(self, found: tuple[Tensor, ...]) -> float:
        """How far the sums of each example's attributions are from what its output gained, at most."""
        sizes = {len(f) for f in found} | {self.call.size}
        if self.gained.shape != (self.call.size,) or len(sizes) > 1:
            return math.nan
        totals = sum(f.double().reshape(len(f), -1).sum(1) for f in found)
        return float((totals - self.gained).abs().max())

    @cached_property
    def pass_flops(self) -> int:
        """Operations of one forward pass, and one backward pass to the inputs that have gradients."""

        def one_pass() -> None:
            with torch.enable_grad():
                leaves = leaves_of(self.call.inputs)
                outputs = self.forward_func(*leaves, *self.call.arguments)
                chosen = explained(outputs, self.call.target)
                reached = [x for x in leaves if x.requires_grad]
                if reached and chosen.requires_grad:
                    torch.autograd.grad(chosen.sum(), reached, allow_unused=True)

        return count_flops(one_pass)


def copies_of(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Copies of inputs, for code that may write into what it is given."""
    return tuple(x.detach().clone().requires_grad_(x.requires_grad) for x in inputs)


def leaves_of(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Copies of inputs that a method may do with as it likes, with gradients where there can be."""
    copies = (x.detach().clone() for x in inputs)
    return tuple(x.requires_grad_(x.is_floating_point() or x.is_complex()) for x in copies)


@contextmanager
def as_it_was(problem: Problem) -> Iterator[Callable[[], None]]:
    """Gives what puts the network back: hooks, modes and attributes, buffers, gradients, grad mode.

    It is put back in the end as well, whatever happens.
    """
    modules = [module for _, module in modules_of(problem.forward_func)]
    weights = {id(p): p for m in modules for p in m.parameters(recurse=False)}.values()
    gradients = [(p, p.requires_grad, p.grad) for p in weights]
    buffers = {id(b): b for m in modules for b in m.buffers(recurse=False)}.values()
    kept = [saved_of(b) for b in buffers if not b.is_meta]
    spaces = [vars(module) for module in modules]
    spaces += [v for space in spaces for v in space.values() if isinstance(v, dict)]
    held, recorded = [(space, dict(space)) for space in spaces], torch.is_grad_enabled()

    def put_back() -> None:
        for space, before in held:
            if not is_same(space, dict, before):
                space.clear()
                space.update(before)
        put_back_tensors(k for k in kept if not torch.equal(k.tensor, k.content))
        for weight, required, gradient in gradients:
            weight.requires_grad_(required)
            weight.grad = gradient
        torch.set_grad_enabled(recorded)

    try:
        yield put_back
    finally:
        put_back()
