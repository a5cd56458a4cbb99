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
from captum_xdnn.attr.base import Routed, Strategy
from captum_xdnn.attr.integrated_gradients import XIntegratedGradients
from captum_xdnn.attr.layer_functions import ToLayer, differentiates


class XNeuronIntegratedGradients(Routed, NeuronIntegratedGradients):
    r"""Integrated Gradients of one neuron by the inputs, in one pass where that is proved exact.

    .. math:: \mathrm{NIG}_i = (x_i - b_i) \int_0^1 \frac{\partial n}{\partial z_i}(z(a)) \, da,
        \qquad z(a) = b + a (x - b)

    for the neuron :math:`n`: Integrated Gradients of the network up to it.

    Args:
        forward_func: The function whose layer is explained, as in Captum.
        layer: The layer.
        device_ids: As in Captum; several devices are left to Captum.
        multiply_by_inputs: Whether to multiply by ``x - b``.
        strategy: As in :class:`XIntegratedGradients`.
        verify: As in :class:`XIntegratedGradients`.

    Raises:
        ValueError: If ``strategy`` is none of the three.

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

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
        *,
        strategy: Strategy = "auto",
        verify: bool = True,
    ) -> None:
        super().__init__(forward_func, layer, device_ids, multiply_by_inputs)
        self._set_routes(strategy, verify=verify)

    @log_usage
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

        Args:
            inputs: Tensor or tuple of tensors of shape ``(B, ...)``.
            neuron_selector: Index, tuple of indices or slices, or a function of the layer's value.
            baselines: As in Captum.
            additional_forward_args: Further arguments of the function, not attributed.
            n_steps: Number of steps of the quadrature; a single pass needs none.
            method: Quadrature rule of Captum; a single pass is the exact integral.
            internal_batch_size: Bound of the batch in one pass.
            attribute_to_neuron_input: Whether the neuron is of what the layer takes.

        Returns:
            The attributions, tensor or tuple as the inputs.

        Raises:
            NotHomogeneousError: With ``strategy="single_pass"``, where one pass is not exact.
            AssertionError: For wrong input, as in Captum (and Captum's other types likewise).
        """
        inner = XIntegratedGradients(
            self.forward_func, self.multiplies_by_inputs, strategy=self.strategy, verify=self.verify
        )
        inner.gradient_func = marked_for_neuron(
            construct_neuron_grad_fn(
                self.layer, neuron_selector, self.device_ids, attribute_to_neuron_input
            ),
            self.layer,
            neuron_selector,
            self.device_ids,
            attribute_to_neuron_input,
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
            self._last = (inner.last_route, inner.certificate)
        return result


def is_index(selector: Any) -> bool:
    """Whether a neuron is chosen by its place; what a function does cannot be noted."""
    return isinstance(selector, int | tuple)


def marked_for_neuron(
    gradient_func: Callable[..., Any],
    layer: nn.Module,
    selector: Any,
    device_ids: list[int] | None,
    at_input: bool,
) -> Callable[..., Any]:
    """The gradient function that Captum makes for a neuron, with what it differentiates."""
    if not is_index(selector) or len(device_ids or ()) > 1:
        return gradient_func
    return differentiates(
        gradient_func,
        lambda forward_func: ToLayer(forward_func, layer, selector, at_input=at_input),
    )
