"""Functions of a network's layers, as the engine takes them: forward functions of their own."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from captum_xdnn._captum import verify_select_neuron
from captum_xdnn.routes.known_functions import Derived

Hook = Callable[[int, Any], Any]
"""Gets the index of a layer and its value, and returns what to put in its place, or None."""


class OfLayers(Derived):
    """A function of what layers take, or give.

    Args:
        base: The forward function.
        layers: Its layers.
        at_input: Whether what a layer takes is meant, and not what it gives.
    """

    def __init__(
        self, base: Callable[..., Any], layers: Sequence[nn.Module], *, at_input: bool
    ) -> None:
        super().__init__(base, layers)
        self.at_input = at_input

    def settings(self) -> tuple[Any, ...]:
        """Which side of the layers is meant."""
        return (self.at_input,)

    @contextmanager
    def hooked(self, hook: Hook) -> Iterator[None]:
        """Show the layers' values to a hook, which may replace them, while the block runs."""
        mine = threading.get_ident()  # another thread may run the layer meanwhile

        def before(index: int) -> Callable[..., Any]:
            return lambda _module, inputs: (
                hook(index, inputs) if threading.get_ident() == mine else None
            )

        def after(index: int) -> Callable[..., Any]:
            return lambda _module, _inputs, outputs: (
                hook(index, outputs) if threading.get_ident() == mine else None
            )

        handles = []
        try:
            for index, layer in enumerate(self.layers):
                if self.at_input:
                    handles.append(layer.register_forward_pre_hook(before(index)))
                else:
                    handles.append(layer.register_forward_hook(after(index)))
            yield
        finally:
            for handle in handles:
                handle.remove()


class FromLayers(OfLayers):
    """The output as a function of the layers' values: those are put in place of the layers' own.

    It takes the values of the layers, followed by what the forward function takes.

    Args:
        base: The forward function.
        layers: The layers.
        bounds: Positions at which each layer's values start, and at which the last one's end.
        at_input: Whether what a layer takes is replaced, and not what it gives.
    """

    def __init__(
        self,
        base: Callable[..., Any],
        layers: Sequence[nn.Module],
        bounds: Sequence[int],
        *,
        at_input: bool,
    ) -> None:
        super().__init__(base, layers, at_input=at_input)
        self.bounds = tuple(bounds)

    def settings(self) -> tuple[Any, ...]:
        """Which side of the layers, and how many values."""
        return (self.at_input, self.bounds)

    def __call__(self, *args: Any) -> Any:
        """The output for given values of the layers."""

        def given(index: int, value: Any) -> Any:
            part = args[self.bounds[index] : self.bounds[index + 1]]
            return part if isinstance(value, tuple) else part[0]

        with self.hooked(given):
            return self.base(*args[self.bounds[-1] :])


class ToLayer(OfLayers):
    """The value of a layer, or one neuron of it, as a function of the inputs.

    Args:
        base: The forward function.
        layer: The layer.
        selector: Which neuron, as in Captum; None for all.
        at_input: Whether what the layer takes is meant, and not what it gives.
    """

    def __init__(
        self, base: Callable[..., Any], layer: nn.Module, selector: Any = None, *, at_input: bool
    ) -> None:
        super().__init__(base, (layer,), at_input=at_input)
        self.selector = selector

    def settings(self) -> tuple[Any, ...]:
        """Which side of the layer, and which neuron."""
        return (self.at_input, repr(self.selector))

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


class Shifted(OfLayers):
    """The output with something added to a layer's value: its gradient is the layer's.

    It takes the inputs, one shift for each tensor of the layer, and what else the forward function
    takes.

    Args:
        base: The forward function.
        layer: The layer, which may run once only.
        inputs: Number of inputs.
        shifts: Number of the layer's tensors.
        at_input: Whether what the layer takes is meant, and not what it gives.
    """

    def __init__(
        self,
        base: Callable[..., Any],
        layer: nn.Module,
        inputs: int,
        shifts: int,
        *,
        at_input: bool,
    ) -> None:
        super().__init__(base, (layer,), at_input=at_input)
        self.inputs, self.shifts = inputs, shifts

    def settings(self) -> tuple[Any, ...]:
        """Which side of the layer, and what stands where among the arguments."""
        return (self.at_input, self.inputs, self.shifts)

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
"""Makes a function of a forward function."""


def differentiates(gradient_func: Callable[..., Any], making: Making) -> Callable[..., Any]:
    """Note on a gradient function of Captum what it differentiates.

    Args:
        gradient_func: A gradient function; it is marked and returned.
        making: Makes, of the forward function, the function that is differentiated: it takes what
            the gradient function is given as inputs and further arguments.
    """
    setattr(gradient_func, _DIFFERENTIATES, _Mark(gradient_func, making))
    return gradient_func


class _Mark:
    """What a function differentiates; it is of that very function, and does not travel."""

    def __init__(self, gradient_func: Callable[..., Any], making: Making) -> None:
        self.of, self.making = weakref.ref(gradient_func), making

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()


def differentiated_by(
    gradient_func: Callable[..., Any], forward_func: Callable[..., Any]
) -> Derived | None:
    """The function that a gradient function was noted to differentiate, or None."""
    mark = getattr(gradient_func, _DIFFERENTIATES, None)
    # functools.wraps copies the mark of what it wraps.
    if not isinstance(mark, _Mark) or mark.of() is not gradient_func:
        return None
    return mark.making(forward_func)
