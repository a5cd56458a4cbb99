"""``accelerate_captum``: Captum's own objects take the fast routes, whoever made them."""

from __future__ import annotations

import functools
import threading
from collections import Counter
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from torch import Tensor

from captum_xdnn._captum import (
    IntegratedGradients,
    LayerIntegratedGradients,
    compute_gradients,
    construct_neuron_grad_fn,
    log_usage,
    neuron_module,
)
from captum_xdnn.attr import XIntegratedGradients
from captum_xdnn.attr.layer_functions import differentiated_by
from captum_xdnn.attr.layer_integrated_gradients import XLayerIntegratedGradients, marked_for_layers
from captum_xdnn.attr.neuron_integrated_gradients import marked_for_neuron

_LOCK = threading.RLock()
_ORIGINAL = IntegratedGradients.attribute
_ORIGINAL_OF_LAYERS = LayerIntegratedGradients._make_gradient_func
_routes: Counter[str] = Counter()
_enabled = 0
_replaced: list[tuple[Any, str, Any]] = []
"""What stood in Captum before, with its place."""


class accelerate_captum(AbstractContextManager["accelerate_captum"]):  # noqa: N801 - reads as a verb
    """Let every ``captum.attr.IntegratedGradients`` object take the fast routes.

    Captum's class itself is changed while this is in force, so it does not matter who made an
    object, when, or from which import: objects inside of other packages, inside of
    ``LayerIntegratedGradients`` and ``NeuronIntegratedGradients``, and subclasses that leave the
    integration as it is. The numbers are Captum's for the same ``n_steps`` and ``method``, with one
    exception: where a single pass is exact, the rules ``riemann_left`` and ``riemann_trapezoid``
    give the exact integral, which Captum itself misses by a constant factor.

    It is in force for the whole process, for as long as any of the objects is enabled; they can be
    nested, and used in several threads.

    Example:
        >>> import torch, captum_xdnn
        >>> from captum.attr import IntegratedGradients
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8, bias=False), torch.nn.ReLU())
        >>> ig = IntegratedGradients(net)
        >>> with captum_xdnn.accelerate_captum() as acceleration:
        ...     _ = ig.attribute(torch.ones(2, 4), target=1)
        >>> acceleration.routes
        Counter({'single_pass': 1})
    """

    def __init__(self) -> None:
        self._depth = 0
        self._before: Counter[str] = Counter()
        self._after: Counter[str] | None = Counter()

    @property
    def routes(self) -> Counter[str]:
        """How many calls took which route while this object was enabled, in the whole process."""
        with _LOCK:
            return (_routes if self._after is None else self._after) - self._before

    def enable(self) -> accelerate_captum:
        """Put it in force; each call wants a call of :meth:`disable`."""
        global _enabled
        with _LOCK:
            if self._depth == 0:
                self._before, self._after = Counter(_routes), None
            self._depth += 1
            _enabled += 1
            if _enabled == 1:
                for place, name, ours in _PLACES:
                    _replaced.append((place, name, getattr(place, name)))
                    setattr(place, name, ours)
        return self

    def disable(self) -> None:
        """Undo one :meth:`enable` of this object; without one, nothing happens."""
        global _enabled
        with _LOCK:
            if self._depth == 0:
                return
            self._depth -= 1
            if self._depth == 0:
                self._after = Counter(_routes)
            _enabled -= 1
            if _enabled == 0:
                while _replaced:
                    setattr(*_replaced.pop())

    def __enter__(self) -> accelerate_captum:
        return self.enable()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.disable()


@log_usage
@functools.wraps(
    _ORIGINAL.__wrapped__, assigned=("__doc__", "__name__", "__qualname__"), updated=()
)
def _attribute(
    self: Any,
    inputs: Any,
    baselines: Any = None,
    target: Any = None,
    additional_forward_args: object | None = None,
    n_steps: int = 50,
    method: str = "gausslegendre",
    internal_batch_size: int | None = None,
    return_convergence_delta: bool = False,
) -> Any:
    arguments = (
        inputs,
        baselines,
        target,
        additional_forward_args,
        n_steps,
        method,
        internal_batch_size,
        return_convergence_delta,
    )
    if not _is_captums(self):
        return _ORIGINAL.__wrapped__(self, *arguments)
    fast = XIntegratedGradients(self.forward_func, self.multiplies_by_inputs)
    fast.gradient_func = self.gradient_func
    result = XIntegratedGradients.attribute.__wrapped__(fast, *arguments)  # type: ignore[attr-defined]
    with _LOCK:
        _routes[fast.last_route or "captum"] += 1
    return result


def _is_captums(method: Any) -> bool:
    """Whether an object integrates as Captum does, and is none of this package's own."""
    if isinstance(method, XIntegratedGradients):
        return False
    kind = type(method)
    parts = ("_attribute", "compute_convergence_delta")
    untouched = all(
        part not in vars(method) and getattr(kind, part) is getattr(IntegratedGradients, part)
        for part in parts
    )
    plain = method.gradient_func is compute_gradients
    known = plain or differentiated_by(method.gradient_func, method.forward_func) is not None
    return untouched and known


def _make_gradient_func(
    self: Any,
    num_outputs_cumsum: Tensor,
    attribute_to_layer_input: bool,
    grad_kwargs: dict[str, Any] | None,
) -> Any:
    arguments = (num_outputs_cumsum, attribute_to_layer_input, grad_kwargs)
    gradient_func = _ORIGINAL_OF_LAYERS(self, *arguments)
    if isinstance(self, XLayerIntegratedGradients):  # marks it itself
        return gradient_func
    return marked_for_layers(self, gradient_func, *arguments)


def _construct_neuron_grad_fn(
    layer: Any,
    neuron_selector: Any,
    device_ids: list[int] | None = None,
    attribute_to_neuron_input: bool = False,
) -> Any:
    arguments = (layer, neuron_selector, device_ids, attribute_to_neuron_input)
    return marked_for_neuron(construct_neuron_grad_fn(*arguments), *arguments)


_PLACES: tuple[tuple[Any, str, Any], ...] = (
    (IntegratedGradients, "attribute", _attribute),
    (LayerIntegratedGradients, "_make_gradient_func", _make_gradient_func),
    (neuron_module, "construct_neuron_grad_fn", _construct_neuron_grad_fn),
)
