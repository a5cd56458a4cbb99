"""``XLayerConductance``: Captum's, with the fast routes where the layer's own law is proved."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from captum_xdnn._captum import LayerConductance, format_output, log_usage
from captum_xdnn.attr.base import Routed, Strategy
from captum_xdnn.attr.layer_call import LayerCall
from captum_xdnn.attr.layer_gradients import differences, mean_gradients, places, routed
from captum_xdnn.routes.captum import Quadrature, Weighted

_captums = LayerConductance.attribute.__wrapped__


class XLayerConductance(Routed, LayerConductance):
    r"""Conductance of a layer's entries.

    .. math:: \mathrm{Cond}_j = \int_0^1 \frac{\partial F}{\partial h_j}(z(a)) \,
        \frac{d h_j}{d a}(z(a)) \, da, \qquad z(a) = b + a (x - b)

    Captum approximates it by differences of the layer's value :math:`h` between neighbouring
    nodes. Where :math:`h(a) = a^k h(x)` or affine is proved, those differences are known from one
    pass, and what remains is a weighted mean of the layer's gradient. Where the network is
    homogeneous of degree 1 as well, with a zero baseline, it is activation times gradient,
    :math:`h_j \, \partial F / \partial h_j`, the same number as Layer Integrated Gradients.

    Args:
        forward_func: The function to explain, as in Captum.
        layer: The layer.
        device_ids: As in Captum; several devices are left to Captum.
        strategy: As in :class:`XIntegratedGradients`.
        verify: As in :class:`XIntegratedGradients`.

    Raises:
        ValueError: If ``strategy`` is none of the three.

    Source:
        Dhamdhere, Sundararajan, Yan, *How Important Is a Neuron?*, ICLR 2019.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Linear(4, 8, bias=False), torch.nn.ReLU(), torch.nn.Linear(8, 2, bias=False)
        ... )
        >>> x = torch.rand(3, 4)
        >>> xlc = XLayerConductance(net, net[1])
        >>> attributions = xlc.attribute(x, target=0)
        >>> attributions.shape, xlc.last_route
        (torch.Size([3, 8]), 'single_pass')
        >>> torch.testing.assert_close(attributions.sum(1), net(x)[:, 0])
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module,
        device_ids: list[int] | None = None,
        *,
        strategy: Strategy = "auto",
        verify: bool = True,
    ) -> None:
        super().__init__(forward_func, layer, device_ids)
        self._set_routes(strategy, verify=verify)

    @log_usage
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: object | None = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Compute the conductance of a layer's entries; the arguments are Captum's.

        Args:
            inputs: Tensor or tuple of tensors of shape ``(B, ...)``.
            baselines: As in Captum.
            target: Index of the explained output, in any of Captum's forms.
            additional_forward_args: Further arguments of the function, not attributed.
            n_steps: Number of steps of the quadrature; a single pass needs none.
            method: Quadrature rule of Captum; a single pass is the exact integral.
            internal_batch_size: Bound of the batch in one pass.
            return_convergence_delta: Whether to return the deltas, too, shape ``(B,)``.
            attribute_to_layer_input: Whether what the layer takes is meant.
            grad_kwargs: As in Captum; they are left to Captum.

        Returns:
            The conductance, in the shape and the dtype of the layer's value: a tensor or a tuple;
            with ``return_convergence_delta`` also the deltas. As in Captum, autograd's graph of the
            layer's value is kept with it, and the gradient by the layer is a constant in it.

        Raises:
            NotHomogeneousError: With ``strategy="single_pass"``, where one pass is not exact.
            AssertionError: For wrong input, as in Captum (and Captum's other types likewise).
        """
        arguments = {
            "inputs": inputs,
            "baselines": baselines,
            "target": target,
            "additional_forward_args": additional_forward_args,
            "n_steps": n_steps,
            "method": method,
            "internal_batch_size": internal_batch_size,
            "return_convergence_delta": return_convergence_delta,
            "attribute_to_layer_input": attribute_to_layer_input,
            "grad_kwargs": grad_kwargs,
        }

        def fast(layer: LayerCall, quadrature: Quadrature) -> Any:
            conductance = self._fast(layer, quadrature)
            if conductance is None:
                return None
            result = format_output(len(conductance) > 1, conductance)
            if not return_convergence_delta:
                return result
            delta = self.compute_convergence_delta(
                conductance,
                layer.call.baselines,
                layer.call.inputs,
                target=target,
                additional_forward_args=additional_forward_args,
            )
            return result, delta

        return routed(self, _captums, arguments, fast, at_input=attribute_to_layer_input)

    def _fast(self, layer: LayerCall, quadrature: Quadrature) -> tuple[Tensor, ...] | None:
        if len(layer.values) != 1:
            return None
        certificate, proved = layer.law()
        if not proved:
            self._last = ("captum", certificate)
            return None
        degree = certificate.degree or Fraction(1)
        # Captum takes one node more than steps, and the gradient at the start of each interval.
        ray = places(Quadrature(quadrature.n_steps + 1, quadrature.method))
        gains = differences(ray, degree)
        weighted = Weighted(
            quadrature.n_steps,
            quadrature.method,
            quadrature.internal_batch_size,
            pairs=tuple(zip(gains, ray, strict=False)),
        )
        gradients = mean_gradients(self, layer, weighted, exact=degree == 1)
        if gradients is None:
            return None
        # Captum's result can be differentiated, as the differences of the layer's values that it is.
        if torch.is_grad_enabled() and not layer.is_law_of_gradients():
            self._last = ("captum", certificate)
            return None
        value = layer.values[0]
        if torch.is_grad_enabled() and not value.requires_grad:
            value = value.detach().requires_grad_()  # as in Captum, where it is a constant, too
        gain = value - layer.start()[0] if certificate.affine else value
        # Not the dtype of the sums: Captum weights no steps here, and keeps the layer's.
        return ((gradients[0] * gain).to(value.dtype).contiguous(),)
