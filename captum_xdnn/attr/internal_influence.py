"""``XInternalInfluence``: Captum's, in one pass where that is proved exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from captum_xdnn._captum import InternalInfluence, format_output, log_usage
from captum_xdnn.attr.base import Routed, Strategy
from captum_xdnn.attr.layer_call import LayerCall
from captum_xdnn.attr.layer_gradients import mean_gradients, routed
from captum_xdnn.routes.captum import Quadrature

_captums = InternalInfluence.attribute.__wrapped__


class XInternalInfluence(Routed, InternalInfluence):
    r"""The gradient by a layer, averaged along the ray of the inputs.

    .. math:: \mathrm{II}_j = \int_0^1 \frac{\partial F}{\partial h_j}(z(a)) \, da,
        \qquad z(a) = b + a (x - b)

    Where the network and the layer's value :math:`h` are homogeneous of degree 1, or affine, along
    the ray, the gradient is the same everywhere on it: one pass, :math:`\partial F / \partial h_j`.

    Args:
        forward_func: The function to explain, as in Captum.
        layer: The layer.
        device_ids: As in Captum; several devices are left to Captum.
        strategy: As in :class:`XIntegratedGradients`.
        verify: As in :class:`XIntegratedGradients`.

    Raises:
        ValueError: If ``strategy`` is none of the three.

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
        attribute_to_layer_input: bool = False,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> Tensor | tuple[Tensor, ...]:
        """Compute the influence of a layer's entries; the arguments are Captum's.

        Args:
            inputs: Tensor or tuple of tensors of shape ``(B, ...)``.
            baselines: As in Captum.
            target: Index of the explained output, in any of Captum's forms.
            additional_forward_args: Further arguments of the function, not attributed.
            n_steps: Number of steps of the quadrature; a single pass needs none.
            method: Quadrature rule of Captum; a single pass is the exact integral.
            internal_batch_size: Bound of the batch in one pass.
            attribute_to_layer_input: Whether what the layer takes is meant.
            grad_kwargs: As in Captum; they are left to Captum.

        Returns:
            The mean gradient, in the shape of the layer's value: a tensor or a tuple.

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
            "attribute_to_layer_input": attribute_to_layer_input,
            "grad_kwargs": grad_kwargs,
        }
        influence: Tensor | tuple[Tensor, ...] = routed(
            self, _captums, arguments, self._fast, at_input=attribute_to_layer_input
        )
        return influence

    def _fast(self, layer: LayerCall, quadrature: Quadrature) -> Tensor | tuple[Tensor, ...] | None:
        gradients = mean_gradients(self, layer, quadrature)
        if gradients is None:
            return None
        result: Tensor | tuple[Tensor, ...] = format_output(len(gradients) > 1, gradients)
        return result
