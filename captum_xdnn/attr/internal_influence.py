"""``XInternalInfluence``: Captum's, in one pass where that is proved exact."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from captum_xdnn._captum import InternalInfluence, format_output, log_usage
from captum_xdnn.attr.base import OfLayer
from captum_xdnn.attr.documentation import described
from captum_xdnn.attr.layer_call import LayerCall
from captum_xdnn.attr.layer_gradients import LayerGradients
from captum_xdnn.routes.gradients import made_by_rows
from captum_xdnn.routes.request import Quadrature


@described()
class XInternalInfluence(OfLayer, LayerGradients, InternalInfluence):
    r"""The gradient by a layer, averaged along the ray of the inputs.

    .. math:: \mathrm{II}_j = \int_0^1 \frac{\partial F}{\partial h_j}(z(a)) \, da,
        \qquad z(a) = b + a (x - b)

    Where the network and the layer's value :math:`h` are homogeneous of degree 1, or affine, along
    the ray, the gradient is the same everywhere on it: one pass, :math:`\partial F / \partial h_j`.

    Source:
        Leino et al., *Influence-Directed Explanations for Deep Convolutional Networks*, 2018.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Linear(4, 8, bias=False), torch.nn.ReLU(), torch.nn.Linear(8, 2, bias=False)
        ... )
        >>> x = torch.rand(3, 4)
        >>> xii = XInternalInfluence(net, net[1])
        >>> influence = xii.attribute(x, target=0)
        >>> influence.shape, xii.last_route
        (torch.Size([3, 8]), 'single_pass')
        >>> torch.testing.assert_close((influence * net[:2](x)).sum(1), net(x)[:, 0])
    """

    _attribute = made_by_rows(InternalInfluence._attribute)

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
        attribute_to_layer_input: bool = False,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> Tensor | tuple[Tensor, ...]:
        """Compute the influence of a layer's entries; the arguments are Captum's.

        Returns:
            The mean gradient, in the shape of the layer's value: a tensor or a tuple.
        """
        influence: Tensor | tuple[Tensor, ...] = self._attribute_by_any_route(
            locals(), at_input=attribute_to_layer_input
        )
        return influence

    def _fast(self, layer: LayerCall, quadrature: Quadrature, _arguments: dict[str, Any]) -> Any:
        gradients = self._mean_gradients(layer, quadrature)
        return None if gradients is None else format_output(len(gradients) > 1, gradients)
