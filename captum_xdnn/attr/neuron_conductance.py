"""``XNeuronConductance``: Captum's, with the fast routes where the neuron's own law is proved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from captum_xdnn._captum import (
    NeuronConductance,
    TensorOrTupleOfTensorsGeneric,
    format_output,
    log_usage,
    verify_select_neuron,
)
from captum_xdnn.attr.base import OfNeuron
from captum_xdnn.attr.documentation import described
from captum_xdnn.attr.layer_call import LayerCall
from captum_xdnn.attr.layer_functions import is_index
from captum_xdnn.attr.layer_gradients import NO_LAW, LayerGradients
from captum_xdnn.routes.captum import gradients_at
from captum_xdnn.routes.gradients import made_by_rows
from captum_xdnn.routes.request import Quadrature


@described()
class XNeuronConductance(OfNeuron, LayerGradients, NeuronConductance):
    r"""Conductance through one neuron.

    .. math:: \mathrm{Cond}_i = (x_i - b_i) \int_0^1 \frac{\partial F}{\partial n}(z(a)) \,
        \frac{\partial n}{\partial z_i}(z(a)) \, da, \qquad z(a) = b + a (x - b)

    Where :math:`n(a) = a^k n(x)` or affine is proved of the neuron, its gradient along the ray is
    :math:`a^{k-1} \partial n / \partial x`, and what remains is a weighted mean of
    :math:`\partial F / \partial n`. Where the network is homogeneous of degree 1 as well, it is
    :math:`(x_i - b_i) \, \partial F / \partial n \; \partial n / \partial x_i`, in two passes.

    Source:
        Dhamdhere, Sundararajan, Yan, *How Important Is a Neuron?*, ICLR 2019.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Linear(4, 8, bias=False), torch.nn.ReLU(), torch.nn.Linear(8, 2, bias=False)
        ... )
        >>> x = torch.rand(3, 4)
        >>> xnc = XNeuronConductance(net, net[1])
        >>> neurons = [xnc.attribute(x, neuron_selector=n, target=0) for n in range(8)]
        >>> neurons[0].shape, xnc.last_route
        (torch.Size([3, 4]), 'single_pass')
        >>> torch.testing.assert_close(sum(n.sum(1) for n in neurons), net(x)[:, 0])
    """

    _attribute = made_by_rows(NeuronConductance._attribute)

    @log_usage
    @described()
    def attribute(
        self,
        inputs: TensorOrTupleOfTensorsGeneric,
        neuron_selector: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: object | None = None,
        n_steps: int = 50,
        method: str = "riemann_trapezoid",
        internal_batch_size: int | None = None,
        attribute_to_neuron_input: bool = False,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> TensorOrTupleOfTensorsGeneric:
        """Compute the conductance through a neuron; the arguments are Captum's.

        Returns:
            The conductance, tensor or tuple as the inputs.
        """
        result: TensorOrTupleOfTensorsGeneric = self._attribute_by_any_route(
            locals(), at_input=attribute_to_neuron_input, noted=is_index(neuron_selector)
        )
        return result

    def _fast(self, layer: LayerCall, quadrature: Quadrature, arguments: dict[str, Any]) -> Any:
        conductance = self._conductance(layer, quadrature, arguments["neuron_selector"])
        is_tuple = isinstance(arguments["inputs"], tuple)
        return None if conductance is None else format_output(is_tuple, conductance)

    def _conductance(
        self, layer: LayerCall, quadrature: Quadrature, selector: Any
    ) -> tuple[Tensor, ...] | None:
        has_slice = isinstance(selector, tuple) and any(isinstance(s, slice) for s in selector)
        if len(layer.values) != 1 or has_slice:
            return None
        certificate, proved = layer.law(selector)
        if not proved:
            self._note("captum", certificate.but(NO_LAW))
            return None
        slope = float((certificate.degree or 1) - 1)
        nodes = quadrature.applied()
        pairs = tuple((w * a**slope, a) for w, a in nodes if a != 0)
        gradients = self._mean_gradients(layer, quadrature, pairs, exact=slope == 0)
        if gradients is None:
            return None
        neuron, lone = layer.neuron(selector), replace(layer.call, target=None)
        by_inputs = gradients_at(neuron, lone, ((1.0, 1.0),))
        total = _times(by_inputs, verify_select_neuron(gradients, selector))
        edge = [(w, a) for w, a in nodes if a == 0]
        if edge and self.last_route == "hoisted":
            function, call = layer.shifted()
            start = gradients_at(function, call, edge)[len(layer.call.inputs) :]
            kink = gradients_at(neuron, lone, ((1.0, 0.0),))
            at_start = _times(kink, verify_select_neuron(start, selector))
            total = tuple(map(torch.add, total, at_start))
        if self.multiplies_by_inputs:
            total = tuple(map(torch.mul, total, layer.call.differences()))
        return total


def _times(gradients: tuple[Tensor, ...], factors: Tensor) -> tuple[Tensor, ...]:
    """The gradients of each example times a number of its own."""
    return tuple(g * factors.reshape((-1,) + (1,) * (g.dim() - 1)) for g in gradients)
