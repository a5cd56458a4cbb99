"""The one place that imports what Captum keeps private, with types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from captum._utils.common import (
    ExpansionTypes,
)
from captum._utils.common import (
    _expand_additional_forward_args as expand_additional_forward_args,
)
from captum._utils.common import _expand_target as expand_target
from captum._utils.common import (
    _format_additional_forward_args as format_additional_forward_args,
)
from captum._utils.common import _format_output as format_output
from captum._utils.common import _run_forward as run_forward
from captum._utils.common import _select_targets as select_targets
from captum._utils.common import _verify_select_neuron as verify_select_neuron
from captum._utils.gradient import _forward_layer_eval as forward_layer_eval
from captum._utils.gradient import compute_gradients, construct_neuron_grad_fn
from captum._utils.typing import BaselineType, TargetType, TensorOrTupleOfTensorsGeneric
from captum.attr._core.integrated_gradients import IntegratedGradients
from captum.attr._core.layer.internal_influence import InternalInfluence
from captum.attr._core.layer.layer_conductance import LayerConductance
from captum.attr._core.layer.layer_integrated_gradients import LayerIntegratedGradients
from captum.attr._core.neuron.neuron_conductance import NeuronConductance
from captum.attr._core.neuron.neuron_integrated_gradients import NeuronIntegratedGradients
from captum.attr._utils.approximation_methods import approximation_parameters
from captum.attr._utils.common import _format_input_baseline as format_input_baseline
from captum.attr._utils.common import _validate_input as validate_input
from captum.log import log_usage as _log_usage

F = TypeVar("F", bound=Callable[..., Any])


def log_usage(function: F) -> F:
    """Captum's decorator of every ``attribute``: keeps ``__wrapped__``, which Captum calls."""
    return cast("F", _log_usage(part_of_slo=True)(function))


integrate: Callable[..., Any] = IntegratedGradients.attribute.__wrapped__
"""Captum's own ``attribute``, also while ``accelerate_captum`` has put another in its place."""

__all__ = [
    "BaselineType",
    "ExpansionTypes",
    "IntegratedGradients",
    "InternalInfluence",
    "LayerConductance",
    "LayerIntegratedGradients",
    "NeuronConductance",
    "NeuronIntegratedGradients",
    "TargetType",
    "TensorOrTupleOfTensorsGeneric",
    "approximation_parameters",
    "compute_gradients",
    "construct_neuron_grad_fn",
    "expand_additional_forward_args",
    "expand_target",
    "format_additional_forward_args",
    "format_input_baseline",
    "format_output",
    "forward_layer_eval",
    "integrate",
    "log_usage",
    "run_forward",
    "select_targets",
    "validate_input",
    "verify_select_neuron",
]
