"""``XLayerConductance``: Captum's, with the fast routes where the layer's own law is proved."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from captum_xdnn._captum import LayerConductance, log_usage
from captum_xdnn.attr.base import OfLayer
from captum_xdnn.attr.documentation import described
from captum_xdnn.attr.layer_call import LayerCall
from captum_xdnn.attr.layer_gradients import NO_LAW, LayerGradients
from captum_xdnn.routes.gradients import made_by_rows
from captum_xdnn.routes.request import Quadrature

ONLY_NOW = (
    "what the layer computes has its law only for the weights that it has now, or code of its own acts "
    "on the gradient, so the derivative of the result is not proved; under torch.no_grad() none is asked for"
)


@described()
class XLayerConductance(OfLayer, LayerGradients, LayerConductance):
    r"""Conductance of a layer's entries.

    .. math:: \mathrm{Cond}_j = \int_0^1 \frac{\partial F}{\partial h_j}(z(a)) \,
        \frac{d h_j}{d a}(z(a)) \, da, \qquad z(a) = b + a (x - b)

    Captum approximates it by differences of the layer's value :math:`h` between neighbouring
    nodes. Where :math:`h(a) = a^k h(x)` or affine is proved, those differences are known from one
    pass, and what remains is a weighted mean of the layer's gradient. Where the network is
    homogeneous of degree 1 as well, with a zero baseline, it is activation times gradient,
    :math:`h_j \, \partial F / \partial h_j`, the same number as Layer Integrated Gradients.

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

    _attribute = made_by_rows(LayerConductance._attribute)
    overlap = 1  # differences between neighbouring places
    keeps_graph = True

    @log_usage
    @described()
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

        Returns:
            The conductance, in the shape and the dtype of the layer's value: a tensor or a tuple;
            with ``return_convergence_delta`` also the deltas. As in Captum, autograd's graph of the
            layer's value is kept with it, and the gradient by the layer is a constant in it.
        """
        return self._attribute_by_any_route(locals(), at_input=attribute_to_layer_input)

    def _fast(self, layer: LayerCall, quadrature: Quadrature, arguments: dict[str, Any]) -> Any:
        conductance = self._conductance(layer, quadrature)
        if conductance is None or not arguments["return_convergence_delta"]:
            return conductance
        delta = self.compute_convergence_delta(
            (conductance,),
            layer.call.baselines,
            layer.call.inputs,
            target=arguments["target"],
            additional_forward_args=arguments["additional_forward_args"],
        )
        return conductance, delta

    def _conductance(self, layer: LayerCall, quadrature: Quadrature) -> Tensor | None:
        if len(layer.values) != 1:
            return None
        certificate, proved = layer.law()
        if not proved:
            self._note("captum", certificate.but(NO_LAW))
            return None
        degree = float(certificate.degree or 1)
        # Captum takes one node more than steps, and the gradient at the start of each interval.
        _, places = Quadrature(quadrature.n_steps + 1, quadrature.method).nodes()
        gains = [after**degree - before**degree for before, after in pairwise(places)]
        pairs = tuple(zip(gains, places, strict=False))
        gradients = self._mean_gradients(layer, quadrature, pairs, exact=degree == 1)
        if gradients is None:
            return None
        # Captum's result can be differentiated, as the differences of the layer's values that it is.
        if torch.is_grad_enabled() and not layer.is_law_of_gradients():
            self._note("captum", certificate.but(ONLY_NOW))
            return None
        value = layer.values[0]
        if torch.is_grad_enabled() and not value.requires_grad:
            value = value.detach().requires_grad_()  # as in Captum, where it is a constant, too
        gain = value - layer.start()[0] if certificate.affine else value
        # Not the dtype of the sums: Captum weights no steps here, and keeps the layer's.
        return (gradients[0] * gain).to(value.dtype).contiguous()
