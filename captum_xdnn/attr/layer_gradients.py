"""The gradient of the output by a layer's value, averaged along the ray of the inputs.

Three of Captum's methods are made of it. With something added to the layer's value, it is the
gradient by what was added, so the fast routes of Integrated Gradients give it: the added tensors
are inputs that are zero at both ends of the ray.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, TypeVar

from torch import Tensor

from captum_xdnn.attr.base import Routed, warn_if_contradicted
from captum_xdnn.attr.layer_call import LayerCall, layer_call
from captum_xdnn.errors import NotHomogeneousError
from captum_xdnn.routes.captum import Quadrature
from captum_xdnn.routes.choice import fast_route
from captum_xdnn.routes.request import Outcome, Request

Result = TypeVar("Result")


def routed(
    method: Routed,
    captums: Callable[..., Result],
    arguments: dict[str, Any],
    fast: Callable[[LayerCall, Quadrature], Result | None],
    *,
    at_input: bool,
    noted: bool = True,
) -> Result:
    """What a fast route gives for the call, and where none does, what Captum's code gives.

    Args:
        method: The object; its strategy counts, and its last route is set.
        captums: Captum's ``attribute``, without the wrapper that logs its use.
        arguments: What it is given, by name, as the user wrote it.
        fast: The result by a fast route; None where Captum's code must run.
        at_input: Whether what the layer takes is meant, and not what it gives.
        noted: Whether the call can be written down as a layer and a place in it.

    Raises:
        NotHomogeneousError: With ``strategy="single_pass"``, where one pass is not exact.
    """
    method._last = ("captum", None)
    noted = noted and not arguments["grad_kwargs"] and _has_captums_own_part(method)
    if method.strategy != "captum" and noted:
        quadrature = Quadrature(
            arguments["n_steps"], arguments["method"], arguments["internal_batch_size"]
        )
        layer = layer_call(method, arguments, quadrature, at_input=at_input)
        result = None if layer is None else fast(layer, quadrature)
        if result is not None:
            return result
    captums_result = captums(method, **arguments)
    if method.strategy == "single_pass":  # Captum's own errors have come before
        message = (
            "a call of this form has no single pass, or the layer's value has no proved law, or only "
            "for the weights that it has now: then call it under torch.no_grad()"
        )
        raise NotHomogeneousError(f"{message}\n{method.certificate or ''}".rstrip())
    return captums_result


def _has_captums_own_part(method: Any) -> bool:
    """Whether nobody has put another ``_attribute``, which Captum's code calls, into the object."""
    captums: Any = next(
        k for k in type(method).__mro__ if k.__module__.partition(".")[0] == "captum"
    )
    return getattr(method._attribute, "__func__", None) is captums._attribute


def mean_gradients(
    method: Routed, layer: LayerCall, quadrature: Quadrature, *, exact: bool = True
) -> tuple[Tensor, ...] | None:
    """The layer's gradient, averaged along the ray; None where Captum's code must run.

    Args:
        method: As in :func:`routed`, whose ``fast`` calls this.
        layer: The call.
        quadrature: Places on the ray and their weights; a single pass gives the exact mean.
        exact: Whether the exact mean may take the place of the weighted sum.
    """
    function, call = layer.shifted()
    request = Request(
        function,
        call,
        quadrature,
        multiply_by_inputs=False,
        verify=method.verify,
        hoist=method.strategy != "single_pass",
        shifts=len(layer.call.inputs),
    )
    try:
        outcome = fast_route(request)
    except RuntimeError as error:  # Captum's code differentiates by no input, and may succeed
        outcome = Outcome(refusal=str(error), ran=False)
    if outcome.route == "single_pass" and not exact:
        outcome = Outcome(outcome.certificate, refusal="a single pass gives another mean")
    method._last = (outcome.route, outcome.certificate)
    warn_if_contradicted(outcome)
    if outcome.attributions is None:
        return None
    return outcome.attributions[len(layer.call.inputs) :]


def places(quadrature: Quadrature) -> list[float]:
    """Captum's places on the ray."""
    return quadrature.nodes()[1]


def differences(values: Sequence[float], degree: Fraction) -> list[float]:
    """What a tensor of this degree gains from each place on the ray to the next."""
    powers = [place ** float(degree) for place in values]
    return [after - before for before, after in pairwise(powers)]
