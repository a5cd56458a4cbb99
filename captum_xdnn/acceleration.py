"""``accelerate_captum``: Captum's own objects take the fast routes, whoever made them."""

from __future__ import annotations

import functools
from collections import Counter
from contextlib import AbstractContextManager
from typing import Any

from captum_xdnn._captum import (
    IntegratedGradients,
    InternalInfluence,
    LayerConductance,
    LayerIntegratedGradients,
    NeuronConductance,
    integrate,
    log_usage,
    neuron_module,
)
from captum_xdnn.attr import (
    XIntegratedGradients,
    XInternalInfluence,
    XLayerConductance,
    XLayerIntegratedGradients,
    XNeuronConductance,
)
from captum_xdnn.attr.base import is_captums
from captum_xdnn.attr.layer_functions import differentiated_by
from captum_xdnn.attr.layers_here import attribute_layer_here
from captum_xdnn.attr.neuron_integrated_gradients import neuron_gradient_func
from captum_xdnn.recording.threads import lock

_LOCK = lock()
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
    nested, and used in several threads. Meanwhile the hooks of ``LayerIntegratedGradients`` and
    ``NeuronIntegratedGradients`` act in the thread that calls alone.

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

    def __exit__(self, *_error: object) -> None:
        self.disable()


@log_usage
@functools.wraps(integrate, assigned=("__doc__", "__name__", "__qualname__"), updated=())
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
    arguments = dict(locals())
    if not _is_captums(self):
        return integrate(**arguments)
    fast = XIntegratedGradients(self.forward_func, self.multiplies_by_inputs)
    fast.gradient_func = self.gradient_func
    result = XIntegratedGradients.attribute.__wrapped__(**{**arguments, "self": fast})  # type: ignore[attr-defined]
    with _LOCK:
        _routes[fast.last_route or "captum"] += 1
    return result


def _is_captums(method: Any) -> bool:
    """Whether an object integrates as Captum does, and is none of this package's own."""
    return (
        not isinstance(method, XIntegratedGradients)
        and is_captums(method, IntegratedGradients, "_attribute")
        and is_captums(method, IntegratedGradients, "compute_convergence_delta")
        and differentiated_by(method.gradient_func, method.forward_func) is not None
    )


_gradient_func_of_layers = XLayerIntegratedGradients._make_gradient_func
_AVERAGES = (
    (InternalInfluence, XInternalInfluence),
    (LayerConductance, XLayerConductance),
    (NeuronConductance, XNeuronConductance),
)
_PLACES: tuple[tuple[Any, str, Any], ...] = (
    (IntegratedGradients, "attribute", _attribute),
    (LayerIntegratedGradients, "attribute", attribute_layer_here),
    (LayerIntegratedGradients, "_make_gradient_func", _gradient_func_of_layers),
    (neuron_module, "construct_neuron_grad_fn", neuron_gradient_func),
    *((captums, "_attribute", vars(ours)["_attribute"]) for captums, ours in _AVERAGES),
)
