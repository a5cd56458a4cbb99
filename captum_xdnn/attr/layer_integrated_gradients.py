"""``XLayerIntegratedGradients``: Captum's, with the fast routes from the layer on."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from captum_xdnn._captum import LayerIntegratedGradients, log_usage
from captum_xdnn.attr.base import Strategy, of_class
from captum_xdnn.attr.documentation import described
from captum_xdnn.attr.integrated_gradients import XIntegratedGradients
from captum_xdnn.attr.layer_functions import FromLayers, differentiates
from captum_xdnn.attr.layers_here import attribute_layer_here, for_one_call, layers_of
from captum_xdnn.attr.tolerating import UNKNOWN, Tolerating, tolerance_of
from captum_xdnn.routes.gradients import made_by_rows
from captum_xdnn.routes.request import Route

if TYPE_CHECKING:
    from captum_xdnn.proof.certificate import Certificate
    from captum_xdnn.routes.refinement import Taken

SEVERAL_LAYERS = (
    "Multiple layers provided. Please ensure that each layer is**not** solely dependent on the "
    "outputs ofanother layer. Please refer to the documentation for moredetail."
)
"""Captum's own words, to the letter: filters of warnings know them."""

# As it is before accelerate_captum puts ours in its place.
_captums_gradient_func = made_by_rows(LayerIntegratedGradients._make_gradient_func)


@described(
    layer="The layer, or a list of layers that do not depend on each other.",
    multiply_by_inputs="Whether to multiply by :math:`h - h'`.",
)
class XLayerIntegratedGradients(Tolerating, LayerIntegratedGradients):
    r"""Integrated Gradients of a layer, in one pass where that is proved exact.

    With the layer's values :math:`h` at the input and :math:`h'` at the baseline, and the output
    :math:`G` as a function of them,

    .. math:: \mathrm{LIG}_i = (h_i - h'_i) \int_0^1 \frac{\partial G}{\partial h_i}
        (h' + a (h - h')) \, da .

    Where :math:`G` is homogeneous of degree 1 and :math:`h' = 0`, this is activation times
    gradient, :math:`h_i \, \partial G / \partial h_i (h)`.

    Shapes:
        ``attribute`` takes inputs of shape ``(B, ...)`` and gives attributions of the shape of
        the layer's values: a tensor or tuple for one layer, a list for several.

    Source:
        Sundararajan, Taly, Yan (ICML 2017), applied to a layer as in Captum.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Linear(4, 8, bias=False), torch.nn.ReLU(), torch.nn.Linear(8, 2, bias=False)
        ... )
        >>> x = torch.rand(3, 4)
        >>> xlig = XLayerIntegratedGradients(net, net[0])
        >>> attributions = xlig.attribute(x, target=1)
        >>> attributions.shape, xlig.last_route
        (torch.Size([3, 8]), 'single_pass')
        >>> torch.testing.assert_close(attributions.sum(1), net(x)[:, 1])
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module | list[nn.Module],
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
        *,
        strategy: Strategy = "auto",
        verify: bool = True,
        max_memory: int | None = None,
    ) -> None:
        # Of several layers Captum warns at the line that calls it, which is not the user's here.
        first = layer[:1] if isinstance(layer, list) else layer
        super().__init__(forward_func, first, device_ids, multiply_by_inputs)
        self.layer = layer
        if isinstance(layer, list) and len(layer) > 1:
            warnings.warn(SEVERAL_LAYERS, stacklevel=2)
        self.ig = XIntegratedGradients(
            forward_func,
            multiply_by_inputs,
            strategy=strategy,
            verify=verify,
            max_memory=max_memory,
        )

    @log_usage
    @described()
    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: object | None = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        grad_kwargs: dict[str, Any] | None = None,
        *,
        tolerance: float | None = None,
        max_steps: int | None = None,
    ) -> Any:
        """Attribute the chosen output to the layer; the arguments but the last two are Captum's.

        Returns:
            The attributions, in the form of the layer's values, a list of these for several layers; with
            ``return_convergence_delta`` also the deltas.
        """
        wanted, here = tolerance_of(tolerance, max_steps), self
        captums = (inputs, baselines, target, additional_forward_args, n_steps, method)
        further = (
            *(internal_batch_size, return_convergence_delta),
            *(attribute_to_layer_input, grad_kwargs),
        )
        if wanted is not None:
            here = for_one_call(self)
            if not isinstance(here.ig, XIntegratedGradients):
                raise NotImplementedError(UNKNOWN)
            here.ig._wanted = wanted
        return attribute_layer_here.__wrapped__(here, *captums, *further)

    def _taken(self) -> Taken | None:
        return self.ig._taken() if isinstance(self.ig, XIntegratedGradients) else None

    @property
    def last_route(self) -> Route | None:
        """The route of the last call: ``"single_pass"``, ``"hoisted"``, ``"captum"``; None before any."""
        return getattr(self.ig, "last_route", None)  # a subclass may have put Captum's here

    @property
    def certificate(self) -> Certificate | None:
        """The certificate of the last call; None if none was asked for."""
        return of_class(getattr(self.ig, "certificate", None), self)

    def _make_gradient_func(
        self: Any,  # also of Captum's class, into which accelerate_captum puts this
        num_outputs_cumsum: Tensor,
        attribute_to_layer_input: bool,
        grad_kwargs: dict[str, Any] | None,
    ) -> Callable[..., Any]:
        gradient_func: Callable[..., Any] = _captums_gradient_func(
            self, num_outputs_cumsum, attribute_to_layer_input, grad_kwargs
        )
        if grad_kwargs or len(self.device_ids or ()) > 1:
            return gradient_func
        # Captum's gradient is of this function, which may be another than that of ``ig`` by now.
        forward_func, layers = self.forward_func, layers_of(self.layer)
        bounds = tuple(num_outputs_cumsum.tolist())
        return differentiates(
            gradient_func,
            lambda _: FromLayers(forward_func, layers, attribute_to_layer_input, bounds),
        )
