"""The gradient of the output by a layer's value, averaged along the ray of the inputs.

Three of Captum's methods are made of it. With something added to the layer's value, it is the
gradient by what was added, so the fast routes of Integrated Gradients give it: the added tensors
are inputs that are zero at both ends of the ray.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from captum_xdnn.attr._captum import (
    format_additional_forward_args,
    format_input_baseline,
    validate_input,
)
from captum_xdnn.attr.call import Call
from captum_xdnn.attr.certified import fast_route
from captum_xdnn.attr.layer_functions import Shifted, ToLayer
from captum_xdnn.attr.outcome import Outcome, Request
from captum_xdnn.attr.quadrature import Quadrature
from captum_xdnn.attr.routed import CONTRADICTED, Routed
from captum_xdnn.errors import HomogeneityWarning, NotHomogeneousError
from captum_xdnn.homogeneity.certificate import Certificate
from captum_xdnn.homogeneity.knowledge import knowledge_of
from captum_xdnn.homogeneity.nodes import is_number

if TYPE_CHECKING:
    from captum_xdnn.homogeneity.tracing import Traced

ERRORS = (AssertionError, IndexError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class LayerCall:
    """A call of a method that explains a layer.

    Attributes:
        forward_func: The forward function.
        layer: The layer.
        at_input: Whether what the layer takes is meant, and not what it gives.
        call: The call of the forward function.
        values: The layer's tensors at the inputs, each of shape ``(B, ...)``.
    """

    forward_func: Callable[..., Any]
    layer: nn.Module
    at_input: bool
    call: Call
    values: tuple[Tensor, ...]

    def to_layer(self, selector: Any = None) -> ToLayer:
        """The layer's value, or a neuron's, as a function of the inputs."""
        return ToLayer(self.forward_func, self.layer, selector, at_input=self.at_input)

    def law(self, selector: Any = None) -> tuple[Certificate, bool]:
        """The certificate of the layer's value along the ray, and whether it allows a fast route."""
        function, call = self.to_layer(selector), self.call
        analysis = knowledge_of(function).analyse(
            function, call.inputs, call.baselines, call.arguments
        )
        certificate = analysis.certificate
        mixes = analysis.traced is not None and analysis.traced.mixes_examples()
        return certificate, certificate.homogeneous and not mixes

    def shifted(self) -> tuple[Shifted, Call]:
        """The output with something added to the layer, and the call of that function."""
        call = self.call
        function = Shifted(
            self.forward_func,
            self.layer,
            len(call.inputs),
            len(self.values),
            at_input=self.at_input,
        )
        zeros = tuple(map(torch.zeros_like, self.values))
        baselines = (*call.baselines, *(0 for _ in zeros))
        return function, Call((*call.inputs, *zeros), baselines, call.target, call.arguments)

    def start(self) -> tuple[Tensor, ...]:
        """The layer's tensors at the baseline."""
        call = self.call
        pairs = zip(call.inputs, call.baselines, strict=True)
        starts = tuple((torch.zeros_like(x) + b).detach() for x, b in pairs)
        with torch.no_grad():
            return self.to_layer().values(*starts, *call.arguments)


def layer_call(
    method: Any,
    inputs: Any,
    baselines: Any,
    target: Any,
    additional_forward_args: Any,
    quadrature: Quadrature,
    *,
    at_input: bool,
) -> LayerCall | None:
    """A call in the form that the fast routes take; None where Captum's code must run.

    Args:
        method: An object of one of Captum's classes, with a strategy.
        inputs: As in Captum.
        baselines: As in Captum.
        target: As in Captum.
        additional_forward_args: As in Captum.
        quadrature: Captum's integration rule.
        at_input: Whether what the layer takes is meant, and not what it gives.
    """
    formatted, starts = format_input_baseline(inputs, baselines)
    validate_input(formatted, starts, quadrature.n_steps, quadrature.method)
    arguments = format_additional_forward_args(additional_forward_args) or ()
    call = Call(formatted, starts, target, arguments)
    device_ids = method.device_ids or getattr(method.forward_func, "device_ids", None)
    bound = quadrature.internal_batch_size
    plain = quadrature.is_plain() and call.is_plain(bound) and not call.starts_require_grad()
    if not plain or len(device_ids or ()) > 1 or (bound is not None and bound < call.size):
        return None
    function = ToLayer(method.forward_func, method.layer, at_input=at_input)
    try:
        with torch.no_grad():
            values = function.values(*(x.detach() for x in formatted), *arguments)
    except ERRORS:  # Captum's own code raises what is wrong with the call
        return None
    real = all(isinstance(v, Tensor) and v.is_floating_point() for v in values)
    if not real or any(v.shape[:1] != (call.size,) for v in values):
        return None
    return LayerCall(method.forward_func, method.layer, at_input, call, values)


def mean_gradients(
    method: Routed, layer: LayerCall, quadrature: Quadrature, *, exact: bool = True
) -> tuple[Tensor, ...] | None:
    """The layer's gradient, averaged along the ray; None where Captum's code must run.

    Args:
        method: Its strategy counts, and its last route is set.
        layer: The call.
        quadrature: Places on the ray and their weights; a single pass gives the exact mean.
        exact: Whether the exact mean may take the place of the weighted sum.
    """
    function, call = layer.shifted()
    knowledge = knowledge_of(function)
    analysis = knowledge.analyse(function, call.inputs, call.baselines, call.arguments)
    if analysis.traced is not None and not _is_lone(analysis.traced, len(layer.call.inputs)):
        method._last = ("captum", analysis.certificate)
        return None
    request = Request(
        function,
        call,
        quadrature,
        multiply_by_inputs=False,
        verify=method.verify,
        hoist=method.strategy != "single_pass",
    )
    outcome = fast_route(request)
    if outcome.route == "single_pass" and not exact:
        outcome = Outcome(outcome.certificate, refusal="a single pass gives another mean")
    method._last = (outcome.route, outcome.certificate)
    if outcome.contradicted:
        warnings.warn(CONTRADICTED.format(outcome.refusal), HomogeneityWarning, stacklevel=5)
    if outcome.attributions is None:
        return None
    return outcome.attributions[len(layer.call.inputs) :]


def _is_lone(traced: Traced, inputs: int) -> bool:
    """Whether nothing but the shifted sum takes the layer's tensors.

    Captum differentiates by the tensor itself, wherever it goes; a shift is seen by the layer's own
    path alone. They differ where a connection skips the layer, or one tensor is returned twice.

    Args:
        traced: The graph of a ``Shifted`` function.
        inputs: Number of inputs before the shifts.
    """
    for shift in traced.inputs[inputs:]:
        users = [n for n in shift.users if not is_number(n.meta.get("val"))]
        if len(users) != 1 or str(users[0].target) != "aten.add.Tensor":
            return False
        value = users[0].args[0]
        if not isinstance(value, Node):
            return False
        if any(n is not users[0] and not is_number(n.meta.get("val")) for n in value.users):
            return False
    return True


def refuse_single_pass(method: Routed) -> None:
    """Raise where nothing but a single pass will do; Captum's own errors have come before.

    Args:
        method: Its strategy decides.
    """
    if method.strategy == "single_pass":
        message = "a call of this form has no single pass, or the layer's value has no proved law"
        raise NotHomogeneousError(f"{message}\n{method.certificate or ''}".rstrip())


def places(quadrature: Quadrature) -> list[float]:
    """Captum's places on the ray."""
    return quadrature.nodes()[1]


def differences(values: Sequence[float], degree: Fraction) -> list[float]:
    """What a tensor of this degree gains from each place on the ray to the next."""
    powers = [place ** float(degree) for place in values]
    return [after - before for before, after in pairwise(powers)]
