"""Functions of a network's layers, as the engine takes them, and what gradient functions differentiate."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_xdnn._captum import compute_gradients, verify_select_neuron
from captum_xdnn.routes.known_functions import Derived

Hook = Callable[[int, Any], Any]
"""Gets the index of a layer and its value, and returns what to put in its place, or None."""


@dataclass(eq=False, repr=False)
class OfLayers(Derived):
    """A function of what layers give, or, with ``at_input``, of what they take."""

    at_input: bool

    def settings(self) -> tuple[Any, ...]:
        """Which side of the layers is meant, and the settings of the subclass."""
        made_with = (value for name, value in vars(self).items() if name not in {"base", "layers"})
        return tuple(map(repr, made_with))  # a slice in a selector has no hash

    @contextmanager
    def hooked(self, hook: Hook) -> Iterator[None]:
        """Show the layers' values to a hook, which may replace them, while the block runs."""
        mine = threading.get_ident()  # another thread may run the layer meanwhile

        def shown(index: int) -> Callable[..., Any]:
            # Before a layer a hook is given what it takes, after it also, last, what it gives.
            return lambda _module, *values: (
                hook(index, values[-1]) if threading.get_ident() == mine else None
            )

        with ExitStack() as handles:
            for index, layer in enumerate(self.layers):
                if self.at_input:
                    handles.enter_context(layer.register_forward_pre_hook(shown(index)))
                else:
                    handles.enter_context(layer.register_forward_hook(shown(index)))
            yield


@dataclass(eq=False, repr=False)
class FromLayers(OfLayers):
    """The output as a function of the layers' values: those are put in place of the layers' own.

    It takes the values of the layers, followed by what the forward function takes. The bounds are
    the positions at which each layer's values start, and at which the last one's end.
    """

    bounds: tuple[int, ...]
    shift = (
        "what the layer gives at the baseline is not zero",
        "choose a baseline at which it is zero, or a layer that gives zero there",
    )

    def __call__(self, *args: Any) -> Any:
        """The output for given values of the layers."""

        def given(index: int, value: Any) -> Any:
            part = args[self.bounds[index] : self.bounds[index + 1]]
            return part if isinstance(value, tuple) else part[0]

        with self.hooked(given):
            return self.base(*args[self.bounds[-1] :])


@dataclass(eq=False, repr=False)
class ToLayer(OfLayers):
    """The value of a layer, or the neuron that a selector of Captum chooses, by the inputs."""

    selector: Any = None

    def __call__(self, *args: Any) -> Any:
        """The value of the layer, or of the neuron in each example, shape ``(B,)``."""
        values = self.values(*args)
        if self.selector is not None:
            neuron = verify_select_neuron(values, self.selector)
            if neuron.dim() != 1:
                message = "grad can be implicitly created only for scalar outputs"
                raise RuntimeError(message)
            return neuron
        return values[0] if len(values) == 1 else values

    def values(self, *args: Any) -> tuple[Tensor, ...]:
        """All tensors that the layer gives, or takes, as a tuple."""
        kept: list[Any] = []

        def keep(_index: int, value: Any) -> None:
            kept[:] = value if isinstance(value, tuple | list) else (value,)
            kept[:] = [v.clone() if isinstance(v, Tensor) else v for v in kept]

        with self.hooked(keep):
            self.base(*args)
        if not kept:
            message = "Forward hook did not obtain any outputs for given layer"
            raise AssertionError(message)
        return tuple(kept)


@dataclass(eq=False, repr=False)
class Shifted(OfLayers):
    """The output with something added to a layer's value: its gradient is the layer's.

    It takes the inputs, one shift for each tensor of the layer, and what else the forward function
    takes. The layer may run once only.
    """

    inputs: int
    shifts: int

    def __call__(self, *args: Any) -> Any:
        """The output, the layer's value shifted."""
        shifts = args[self.inputs : self.inputs + self.shifts]
        met: list[int] = []

        def shifted(index: int, value: Any) -> Any:
            met.append(index)
            if not isinstance(value, tuple | list):
                return value + shifts[0]
            return type(value)(map(torch.add, value, shifts))

        with self.hooked(shifted):
            output = self.base(*args[: self.inputs], *args[self.inputs + self.shifts :])
        if len(met) != 1:
            message = f"the layer runs {len(met)} times in one pass; its gradient is not one tensor"
            raise RuntimeError(message)
        return output


_DIFFERENTIATES = "captum_xdnn_differentiates"

Making = Callable[[Callable[..., Any]], Derived]
"""Makes, of the forward function, the function that is differentiated.

It takes what the gradient function is given as inputs and further arguments.
"""


class _Mark:
    """What a function differentiates; it is of that very function, and does not travel."""

    def __init__(self, gradient_func: Callable[..., Any], making: Making) -> None:
        self.of, self.making = weakref.ref(gradient_func), making

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()


def differentiates(gradient_func: Callable[..., Any], making: Making) -> Callable[..., Any]:
    """Note on a gradient function of Captum what it differentiates, and return it."""
    setattr(gradient_func, _DIFFERENTIATES, _Mark(gradient_func, making))
    return gradient_func


def differentiated_by(
    gradient_func: Callable[..., Any], forward_func: Callable[..., Any]
) -> Callable[..., Any] | None:
    """The function that a gradient function differentiates; None if that is not known."""
    if gradient_func is compute_gradients:
        return forward_func
    mark = getattr(gradient_func, _DIFFERENTIATES, None)
    # functools.wraps copies the mark of what it wraps.
    if not isinstance(mark, _Mark) or mark.of() is not gradient_func:
        return None
    return mark.making(forward_func)


def is_index(selector: Any) -> bool:
    """Whether a neuron is chosen by its place; what a function does cannot be noted."""
    return isinstance(selector, int | tuple)
