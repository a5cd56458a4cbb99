"""Captum's gradients of a batch of outputs, at a cost that grows with its rows and not with their square.

Captum differentiates ``torch.unbind(outputs)``: the gradient of each of N numbers fills a tensor of N. With
ones for all of them at once autograd computes the same numbers. It is Captum's own code that runs here, so
errors, hooks and devices are as there; these two calls of torch are others in it, and nowhere else. A list of
places as target, of which Captum takes one after the other, costs as much and is taken at once, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from captum_xdnn._captum import gradient_module, run_forward, select_targets
from captum_xdnn._torch import gradients_from
from captum_xdnn.recording.tensors import custom_nodes_of

F = TypeVar("F", bound=Callable[..., Any])

OWN_GRADIENTS = {"grad_outputs", "is_grads_batched"}
"""Options of ``torch.autograd.grad`` that speak of each output by itself."""
PLAIN_OPTIONS = {"create_graph", "retain_graph", "allow_unused"}
"""Those that autograd itself takes."""


def gradient_of_each(outputs: Any, inputs: Any, **options: Any) -> tuple[Tensor, ...]:
    """``torch.autograd.grad(torch.unbind(outputs), inputs, **options)``, bit for bit, and its errors."""
    at_once = (
        isinstance(outputs, Tensor)
        and outputs.is_floating_point()
        and outputs.layout == torch.strided
        and outputs.dim() > 0
        and len(outputs) == outputs.numel()
        and OWN_GRADIENTS.isdisjoint(options)
    )
    if not at_once:
        return cast(
            "tuple[Tensor, ...]", torch.autograd.grad(torch.unbind(outputs), inputs, **options)
        )
    # Contiguous, as what autograd adds up of the rows.
    ones = torch.ones_like(outputs, memory_format=torch.contiguous_format)
    seed = seed_of(outputs, ones, create_graph=options.get("create_graph", False))
    if isinstance(inputs, tuple | list) and inputs and PLAIN_OPTIONS.issuperset(options):
        return gradients_from((outputs,), inputs, (seed,), **options)
    # A sum has the same gradient, and no seed, for which torch would import sympy.
    return cast(
        "tuple[Tensor, ...]", torch.autograd.grad((outputs * seed).sum(), inputs, **options)
    )


def seed_of(outputs: Tensor, ones: Tensor, *, create_graph: bool) -> Tensor:
    """What is sent back through a function.

    It requires gradients itself where they are differentiated again through functions of the user's own:
    of what does not, a ``once_differentiable`` one gives a gradient without a graph, and a loss on it had
    a wrong gradient without a word.
    """
    return ones.requires_grad_() if create_graph and custom_nodes_of(outputs) else ones


def selected(output: Any, target: Any) -> Any:
    """Captum's choice of the explained entries; a place for each row is taken at once as well."""
    lengths = output.shape[1:] if isinstance(output, Tensor) else ()
    if not (lengths and isinstance(target, list) and len(target) == len(output) > 1):
        return select_targets(output, target)
    for place in target:
        if type(place) is not tuple or len(place) != len(lengths):
            return select_targets(output, target)
        if not all(type(i) is int and -n <= i < n for i, n in zip(place, lengths, strict=True)):
            return select_targets(output, target)
    places = torch.tensor(target, device=output.device).unbind(1)
    return output[(torch.arange(len(output), device=output.device), *places)]


@dataclass(frozen=True)
class _Rows:
    """Stands for ``torch.unbind(outputs)``."""

    outputs: Any


def _grad(outputs: Any, *args: Any, **options: Any) -> tuple[Tensor, ...]:
    if isinstance(outputs, _Rows):
        return gradient_of_each(outputs.outputs, *args, **options)
    gradients: tuple[Tensor, ...] = torch.autograd.grad(outputs, *args, **options)
    return gradients


class _Replaced(ModuleType):
    """A module with some other names."""

    def __init__(self, module: ModuleType, **others: Any) -> None:
        super().__init__(module.__name__)
        vars(self).update(others, instead_of=module)

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["instead_of"], name)


_TORCH = _Replaced(torch, unbind=_Rows, autograd=_Replaced(torch.autograd, grad=_grad))
_BY_CAPTUM: dict[FunctionType, Any] = {}
"""For each function of Captum's gradients what takes its place."""


def by_rows(function: F) -> F:
    """A function of Captum's whose cost grows with the rows; any other is given back as it is."""
    if not isinstance(function, FunctionType):
        return function
    return cast("F", _BY_CAPTUM.get(function, function))


def made_by_rows(function: F, names: dict[str, Any] | None = None) -> F:
    """A copy of a function of Captum's that differentiates so, by itself or through those it calls."""
    known: Any = function
    if names is None:
        names = {name: by_rows(value) for name, value in known.__globals__.items()}
        names["torch"] = _TORCH
    copy = FunctionType(
        known.__code__, names, known.__name__, known.__defaults__, known.__closure__
    )
    copy.__kwdefaults__ = known.__kwdefaults__
    copy.__doc__, copy.__qualname__ = known.__doc__, known.__qualname__
    return cast("F", copy)


def _copied(module: ModuleType) -> None:
    """Copy all functions of a module, which call each other."""
    names = {name: by_rows(value) for name, value in vars(module).items()} | {"torch": _TORCH}
    for name, value in vars(module).items():
        if isinstance(value, FunctionType) and value.__globals__ is vars(module):
            names[name] = _BY_CAPTUM[value] = made_by_rows(value, names)


_running: Any = run_forward
_BY_CAPTUM[_running] = made_by_rows(_running, {**_running.__globals__, "_select_targets": selected})
_copied(gradient_module)
