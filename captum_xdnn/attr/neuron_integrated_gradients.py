"""``XNeuronIntegratedGradients``: Captum's, with the fast routes up to the neuron."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from captum_xdnn._captum import (
    NeuronIntegratedGradients,
    TensorOrTupleOfTensorsGeneric,
    construct_neuron_grad_fn,
    log_usage,
)
from captum_xdnn.attr.base import OfNeuron
from captum_xdnn.attr.documentation import described
from captum_xdnn.attr.integrated_gradients import XIntegratedGradients
from captum_xdnn.attr.layer_functions import ToLayer, differentiates, is_index
from captum_xdnn.attr.layers_here import layers_here
from captum_xdnn.routes.gradients import by_rows


@described(forward_func="The function whose layer is explained, as in Captum.")
class XNeuronIntegratedGradients(OfNeuron, NeuronIntegratedGradients):
    r"""Integrated Gradients of one neuron by the inputs, in one pass where that is proved exact.

    .. math:: \mathrm{NIG}_i = (x_i - b_i) \int_0^1 \frac{\partial n}{\partial z_i}(z(a)) \, da,
        \qquad z(a) = b + a (x - b)

    for the neuron :math:`n`: Integrated Gradients of the network up to it.

    Source:
        Sundararajan, Taly, Yan (ICML 2017), applied to a neuron as in Captum.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Linear(4, 8, bias=False), torch.nn.ReLU(), torch.nn.Linear(8, 2, bias=False)
        ... )
        >>> x = torch.rand(3, 4)
        >>> xnig = XNeuronIntegratedGradients(net, net[1])
        >>> attributions = xnig.attribute(x, neuron_selector=5)
        >>> attributions.shape, xnig.last_route
        (torch.Size([3, 4]), 'single_pass')
        >>> torch.testing.assert_close(attributions.sum(1), net[:2](x)[:, 5])
    """

    @log_usage
    @described()
    def attribute(
        self,
        inputs: TensorOrTupleOfTensorsGeneric,
        neuron_selector: Any,
        baselines: Any = None,
        additional_forward_args: object | None = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        attribute_to_neuron_input: bool = False,
    ) -> TensorOrTupleOfTensorsGeneric:
        """Attribute a neuron; the arguments are Captum's.

        Returns:
            The attributions, tensor or tuple as the inputs.
        """
        inner = XIntegratedGradients(
            self.forward_func,
            self.multiplies_by_inputs,
            strategy=self.strategy,
            verify=self.verify,
            max_memory=self.max_memory,
        )
        inner.gradient_func = neuron_gradient_func(
            self.layer, neuron_selector, self.device_ids, attribute_to_neuron_input
        )
        try:
            result: TensorOrTupleOfTensorsGeneric = XIntegratedGradients.attribute.__wrapped__(  # type: ignore[attr-defined]
                inner,
                inputs,
                baselines,
                additional_forward_args=additional_forward_args,
                n_steps=n_steps,
                method=method,
                internal_batch_size=internal_batch_size,
            )
        finally:
            self._note(inner.last_route, inner.certificate)
        return result


def neuron_gradient_func(
    layer: nn.Module,
    neuron_selector: Any,
    device_ids: list[int] | None = None,
    attribute_to_neuron_input: bool = False,
) -> Callable[..., Any]:
    """Captum's ``construct_neuron_grad_fn``, which notes on its result what that differentiates."""
    gradient_func: Callable[..., Any] = by_rows(construct_neuron_grad_fn)(
        layers_here(layer), neuron_selector, device_ids, attribute_to_neuron_input
    )
    if not is_index(neuron_selector) or len(device_ids or ()) > 1:
        return gradient_func
    return differentiates(
        gradient_func,
        lambda forward_func: ToLayer(
            forward_func, (layer,), attribute_to_neuron_input, neuron_selector
        ),
    )
