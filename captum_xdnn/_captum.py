"""The one place that knows what Captum keeps private, with types.

Captum 0.8 and 0.9 have all of it. Each says why it is needed; without any of them, or with one of
another form, the import of this package ends with the one message below.
``tests/test_private_names.py`` keeps every other file from reaching past this one.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import captum
from captum.attr import IntegratedGradients as IntegratedGradients
from captum.attr import InternalInfluence as InternalInfluence
from captum.attr import LayerConductance as LayerConductance
from captum.attr import LayerIntegratedGradients as LayerIntegratedGradients
from captum.attr import NeuronConductance as NeuronConductance
from captum.attr import NeuronIntegratedGradients as NeuronIntegratedGradients
from captum.log import log_usage as _log_usage

MESSAGE = (
    "captum-xdnn relies on parts of Captum that Captum {version} has not, or has in another form: "
    "{parts}. Install a release of Captum that captum-xdnn is made for, or a newer captum-xdnn."
)

try:
    from captum._utils import common as _common
    from captum._utils import gradient as _gradient

    # What further arguments and targets become where inputs are repeated for all steps.
    from captum._utils.common import ExpansionTypes as ExpansionTypes
    from captum._utils.gradient import compute_gradients as compute_gradients
    from captum._utils.gradient import construct_neuron_grad_fn as construct_neuron_grad_fn

    # The types of Captum's signatures.
    from captum._utils.typing import BaselineType as BaselineType
    from captum._utils.typing import TargetType as TargetType
    from captum._utils.typing import TensorOrTupleOfTensorsGeneric as TensorOrTupleOfTensorsGeneric

    # Where `accelerate_captum` puts another function that makes gradient functions.
    from captum.attr._core.neuron import neuron_integrated_gradients as _neuron
    from captum.attr._utils import common as _forms

    # Captum's steps and weights.
    from captum.attr._utils.approximation_methods import (
        approximation_parameters as approximation_parameters,
    )

    # Captum's gradient functions, by which a replaced one is told, and which are copied with another torch.
    gradient_module, neuron_module = _gradient, _neuron
    expand_additional_forward_args = _common._expand_additional_forward_args
    expand_target = _common._expand_target
    # Captum's forms of arguments and results: a tensor or a tuple.
    format_additional_forward_args = _common._format_additional_forward_args
    format_output = _common._format_output
    # Calling a function with a target, choosing outputs by a target, checking a neuron: with
    # Captum's own errors.
    run_forward, select_targets = _common._run_forward, _common._select_targets
    verify_select_neuron = _common._verify_select_neuron
    # Captum's forms of inputs and baselines, and its errors about them.
    format_input_baseline = _forms._format_input_baseline
    validate_input = _forms._validate_input
    integrate: Callable[..., Any] = IntegratedGradients.attribute.__wrapped__
    """Captum's own ``attribute``, also while ``accelerate_captum`` has put another in its place."""
except (ImportError, AttributeError) as error:
    raise ImportError(MESSAGE.format(version=captum.__version__, parts=error)) from error

ATTRIBUTES: dict[str, tuple[Any, ...]] = {
    # The function that differentiates: the differentiable form sets it, a replaced one is told by it.
    "gradient_func": (IntegratedGradients(len),),
    # The sum itself, which a subclass may have changed.
    "_attribute": (IntegratedGradients, InternalInfluence, LayerConductance, NeuronConductance),
    # The gradient by the values of layers, to which the layers are noted.
    "_make_gradient_func": (LayerIntegratedGradients,),
}
"""Attributes of Captum's that other files use, each with what has it."""
OVERRIDDEN = {"_attribute", "_make_gradient_func"}
"""Private methods that classes of this package put in the place of Captum's."""

F = TypeVar("F", bound=Callable[..., Any])


def log_usage(function: F) -> F:
    """Captum's decorator of every ``attribute``: keeps ``__wrapped__``, which Captum calls."""
    return cast("F", _log_usage(part_of_slo=True)(function))


def unfit() -> list[str]:
    """The attributes that Captum has not, or that are not what they were."""
    missing = [
        name
        for name, holders in ATTRIBUTES.items()
        if not all(hasattr(holder, name) for holder in holders)
    ]
    if missing:
        return missing
    checks = {
        "gradient_func": IntegratedGradients(len).gradient_func is compute_gradients,
        "_attribute": "step_sizes_and_alphas"
        in IntegratedGradients._attribute.__code__.co_varnames,
    }
    return [name for name, holds in checks.items() if not holds]


if parts := ", ".join(unfit()):
    raise ImportError(MESSAGE.format(version=captum.__version__, parts=parts))
