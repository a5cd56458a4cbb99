"""A call that explains a layer: the call of the forward function, and the layer's values in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from captum_xdnn._captum import (
    format_additional_forward_args,
    format_input_baseline,
    validate_input,
)
from captum_xdnn._torch import is_transformed
from captum_xdnn.attr.layer_functions import Shifted, ToLayer
from captum_xdnn.checks.gradient_law import custom_functions_of
from captum_xdnn.proof.baseline_values import Unavailable
from captum_xdnn.proof.certificate import Certificate
from captum_xdnn.proof.verdict import values_of
from captum_xdnn.proof.watching import Watched, known_baseline, unsuitable, watch
from captum_xdnn.routes.certification import certificate_of
from captum_xdnn.routes.known_functions import memory_of
from captum_xdnn.routes.request import Call, Quadrature


@dataclass(frozen=True)
class LayerCall:
    """A call of a method that explains a layer.

    Attributes:
        function: The layer's value as a function of the inputs.
        call: The call of the forward function.
        values: The layer's tensors at the inputs, each of shape ``(B, ...)``, with their graph.
        watched: The run that gave them.
    """

    function: ToLayer
    call: Call
    values: tuple[Tensor, ...]
    watched: Watched

    def neuron(self, selector: Any) -> ToLayer:
        """A neuron of the layer as a function of the inputs."""
        return replace(self.function, selector=selector)

    def law(self, selector: Any = None) -> tuple[Certificate, bool]:
        """The certificate of the layer's value along the ray, and whether it allows a fast route."""
        function = self.neuron(selector)
        watched = self.watched if selector is None else watched_at(function, self.call)
        if watched.verdict is None:
            return Certificate.untraceable(str(watched.error)), False
        memory = memory_of(function)
        certificate = memory.certificates.get(watched.verdict)
        if certificate is None:
            certificate = certificate_of(function, watched)
            memory.keep(watched.verdict, certificate)
        by_rows = watched.output.shape[:1] == (self.call.size,)
        return certificate, certificate.homogeneous and by_rows

    def is_law_of_gradients(self) -> bool:
        """Whether the layer's value moves by its law for other weights as well, and its gradient."""
        tape, verdict, given = self.watched.tape, self.watched.verdict, self.watched.given
        if tape is None or verdict is None or given is None or tape.touches:
            return False
        relied = [node for node in verdict.relied if node.number in given.values]
        trained = any(t.requires_grad for t in values_of(relied, given.values))
        return not trained and not any(map(custom_functions_of, self.values))

    def shifted(self) -> tuple[Shifted, Call]:
        """The output with something added to the layer, and the call of that function."""
        call = self.call
        base, layers, at_input = self.function.base, self.function.layers, self.function.at_input
        function = Shifted(base, layers, at_input, len(call.inputs), len(self.values))
        zeros = tuple(map(torch.zeros_like, self.values))
        baselines = (*call.baselines, *(0 for _ in zeros))
        return function, Call((*call.inputs, *zeros), baselines, call.target, call.arguments)

    def start(self) -> tuple[Tensor, ...]:
        """The layer's tensors at the baseline, with their graph."""
        call, verdict, given = self.call, self.watched.verdict, self.watched.given
        if verdict is not None and given is not None and verdict.graph.output is not None:
            baseline_values = verdict.baseline_values(given, graph=torch.is_grad_enabled())
            with suppress(Unavailable):
                return (baseline_values.value(verdict.graph.output),)
        return self.function.values(*call.starts(), *call.further())


def layer_call(
    method: Any, arguments: Mapping[str, Any], quadrature: Quadrature, *, at_input: bool
) -> LayerCall | None:
    """A call, given by name, in the form that the fast routes take; None where Captum's must run."""
    inputs, starts = format_input_baseline(arguments["inputs"], arguments["baselines"])
    validate_input(inputs, starts, quadrature.n_steps, quadrature.method)
    further = format_additional_forward_args(arguments["additional_forward_args"]) or ()
    call = Call(inputs, starts, arguments["target"], further)
    device_ids = method.device_ids or getattr(method.forward_func, "device_ids", None)
    bound = quadrature.internal_batch_size
    plain = quadrature.is_plain() and call.is_plain() and not call.starts_require_grad()
    if not plain or len(device_ids or ()) > 1 or (bound is not None and bound < call.size):
        return None
    if is_transformed() or any(x.is_meta for x in inputs):
        return None
    refused = unsuitable(inputs)
    if refused is not None:
        method._note("captum", refused)
        return None
    function = ToLayer(method.forward_func, (method.layer,), at_input)
    watched = watched_at(function, call)
    if watched.error is not None:  # Captum's own code raises what is wrong with the call
        return None
    output = watched.output if isinstance(watched.output, tuple) else (watched.output,)
    if not all(isinstance(v, Tensor) and v.is_floating_point() for v in output):
        return None
    if any(v.shape[:1] != (call.size,) for v in output):
        return None
    return LayerCall(function, call, output, watched)


def watched_at(function: Callable[..., Any], call: Call) -> Watched:
    """A run at the inputs of a call, which leaves the network as it was."""
    starts = tuple(known_baseline(b) for b in call.baselines)
    leaves = call.leaves(keep_graph=torch.is_grad_enabled())
    watched = watch(function, leaves, starts, call.further())
    watched.put_back()
    return watched
