"""The gradient of the output by a layer's value, averaged along the ray of the inputs.

Three of Captum's methods are made of it. With something added to the layer's value, it is the
gradient by what was added, so the fast routes of Integrated Gradients give it: the added tensors
are inputs that are zero at both ends of the ray.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from captum_xdnn._captum import InternalInfluence, LayerConductance, NeuronConductance
from captum_xdnn.attr.base import Routed, is_captums, warn_if_contradicted
from captum_xdnn.attr.layer_call import LayerCall, layer_call
from captum_xdnn.attr.layers_here import for_one_call
from captum_xdnn.errors import NotHomogeneousError, is_out_of_memory, without_frames
from captum_xdnn.routes.choice import fast_route
from captum_xdnn.routes.divided import Way
from captum_xdnn.routes.known_functions import memory_of
from captum_xdnn.routes.passes import integrated
from captum_xdnn.routes.request import Call, Outcome, Quadrature, Request, Weighted
from captum_xdnn.routes.sizes import sizes_of

CAPTUMS = {
    kind: kind.attribute.__wrapped__
    for kind in (InternalInfluence, LayerConductance, NeuronConductance)
}
"""Captum's classes, and their ``attribute`` without the wrapper that logs its use."""

ANOTHER_MEAN = "a single pass gives another mean of the layer's gradient than its law asks for"
NO_FORM = (
    "a call of this form has no single pass: with grad_kwargs, several devices, internal_batch_size below "
    "the batch, a slice or a function as selector, or a layer of several values"
)
NO_LAW = "what the layer computes of the inputs has no proved law"


class LayerGradients(Routed):
    """One of Captum's methods that average a layer's gradient along the ray of the inputs.

    Attributes:
        overlap: How many places on the ray a part of the steps shares with the next.
        keeps_graph: Whether the result can be differentiated through the layer's values.
    """

    overlap = 0
    keeps_graph = False
    _attribute: Any

    def _attribute_by_any_route(
        self, arguments: dict[str, Any], *, at_input: bool, noted: bool = True
    ) -> Any:
        """What a fast route gives for the call, and where none does, what Captum's code gives.

        Args:
            arguments: What ``attribute`` is given, by name, as the user wrote it, and ``self``.
            at_input: Whether what the layer takes is meant, and not what it gives.
            noted: Whether the call can be written down as a layer and a place in it.
        """
        self._note("captum", None)
        captums = next(kind for kind in type(self).__mro__ if kind in CAPTUMS)
        ours = next(kind for kind in type(self).__mro__ if LayerGradients in kind.__bases__)
        own = is_captums(self, ours, "_attribute")  # which Captum's code calls
        quadrature = Quadrature(
            arguments["n_steps"], arguments["method"], arguments["internal_batch_size"]
        )
        layer = None
        if self.strategy != "captum" and noted and own and not arguments["grad_kwargs"]:
            layer = layer_call(self, arguments, quadrature, at_input=at_input)
            result = (
                None if layer is None else self._while_memory_lasts(layer, quadrature, arguments)
            )
            if result is not None:
                return result
        alone = for_one_call(self) if own else self
        if layer is not None and quadrature.internal_batch_size is None:
            alone._divide(layer, quadrature)
        try:
            captums_result = CAPTUMS[captums](**{**arguments, "self": alone})
        finally:
            if alone is not self:
                vars(alone).pop("_attribute", None)  # a circle, which would hold the call
        if self.strategy == "single_pass":  # Captum's own errors have come before
            certificate = self.certificate
            raise NotHomogeneousError(NO_FORM if certificate is None else certificate.demanded())
        return captums_result

    def _while_memory_lasts(
        self, layer: LayerCall, quadrature: Quadrature, arguments: dict[str, Any]
    ) -> Any:
        """The result by a fast route; None also where it does not fit, for Captum's passes can be smaller."""
        try:
            return self._fast(layer, quadrature, arguments)
        except (RuntimeError, MemoryError) as error:
            if self.strategy == "single_pass" or not is_out_of_memory(error):
                raise
            failed = error
        without_frames(failed)
        self._note("captum", None)
        return None

    def _fast(self, layer: LayerCall, quadrature: Quadrature, arguments: dict[str, Any]) -> Any:
        """The result by a fast route; None where Captum's code must run."""
        raise NotImplementedError

    def _divide(self, layer: LayerCall, quadrature: Quadrature) -> None:
        """Let this object, which is one call's, compute its sum in passes where memory asks for it."""
        known = memory_of(layer.function.base).sizes
        sizes = sizes_of(layer.watched.verdict, layer.call.arguments, known)
        nodes = replace(quadrature, n_steps=quadrature.n_steps + self.overlap)
        request = Request(
            layer.function.base,
            layer.call,
            nodes,
            multiply_by_inputs=False,
            max_memory=self.max_memory,
        )
        captums = self._attribute

        def attribute(**call: Any) -> Any:
            several = False

            def compute(**given: Any) -> tuple[Tensor, ...]:
                nonlocal several
                result = captums(**given)
                several = isinstance(result, tuple)
                return result if several else (result,)

            def some(part: Call, weights: list[float], places: list[float]) -> tuple[Tensor, ...]:
                given = {
                    "inputs": part.inputs,
                    "baselines": part.baselines,
                    "target": part.target,
                    "additional_forward_args": part.arguments or None,
                    "n_steps": len(places) - self.overlap,
                    "step_sizes_and_alphas": (weights, places),
                }
                return compute(**{**call, **given})

            # What can be differentiated holds the graph of every pass.
            known = None if self.keeps_graph and torch.is_grad_enabled() else sizes
            way = Way(some, self.overlap)
            found = integrated(request, known, partial(compute, **call), way)
            return found if several else found[0]

        self._attribute = attribute

    def _mean_gradients(
        self,
        layer: LayerCall,
        quadrature: Quadrature,
        pairs: tuple[tuple[float, float], ...] | None = None,
        *,
        exact: bool = True,
    ) -> tuple[Tensor, ...] | None:
        """The layer's gradient, averaged along the ray; None where Captum's code must run.

        Args:
            layer: The call.
            quadrature: Captum's rule; a single pass gives the exact mean.
            pairs: Weights and places on the ray in place of the rule's own.
            exact: Whether the exact mean may take the place of the weighted sum.
        """
        if pairs is not None:
            quadrature = Weighted(
                quadrature.n_steps, quadrature.method, quadrature.internal_batch_size, pairs
            )
        function, call = layer.shifted()
        inputs = len(layer.call.inputs)
        request = Request(
            function,
            call,
            quadrature,
            multiply_by_inputs=False,
            verify=self.verify,
            hoist=self.strategy != "single_pass",
            max_memory=self.max_memory,
            shifts=inputs,
        )
        try:
            outcome = fast_route(request)
        except RuntimeError as error:  # Captum's code differentiates by no input, and may succeed
            outcome = Outcome(refusal=str(error), ran=False)
        if outcome.route == "single_pass" and not exact:
            outcome = Outcome(outcome.certificate, refusal=ANOTHER_MEAN)
        certificate = outcome.certificate
        if certificate is not None and outcome.refusal:
            certificate = certificate.but(outcome.refusal)
        self._note(outcome.route, certificate)
        warn_if_contradicted(outcome)
        return None if outcome.attributions is None else outcome.attributions[inputs:]
