"""Captum's own table of test configurations, through this package's class and through Captum's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients, NoiseTunnel
from captum.testing.attr.helpers.gen_test_utils import get_target_layer, parse_test_config
from captum.testing.attr.helpers.test_config import config as captum_table
from class_swap import integrated_gradients_is
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients

# What Captum says of the arguments in its own table, swapped or not.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Internal batch size cannot be less:UserWarning"),
    pytest.mark.filterwarnings("ignore:Multiple layers provided:UserWarning"),
]

METHODS = (
    "gausslegendre",
    "riemann_right",
    "riemann_middle",
    "riemann_left",
    "riemann_trapezoid",
)
AGREEING_METHODS = ("gausslegendre", "riemann_right", "riemann_middle")
"""Rules that give a constant its value; the others are off by Captum's own constant."""

CONFIGS = {
    entry["name"]: entry for entry in captum_table if IntegratedGradients in entry["algorithms"]
}
AROUND_IT = [
    (entry["name"], algorithm)
    for entry in captum_table
    for algorithm in entry["algorithms"]
    if algorithm.__name__ in ("LayerIntegratedGradients", "NeuronIntegratedGradients")
]


def unbiased(model: nn.Module) -> nn.Module:
    """The model with every bias at zero."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.rpartition(".")[2] == "bias":
                parameter.zero_()
    return model


VARIANTS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "as_shipped": lambda model: model,
    "unbiased": unbiased,
}


def attributed(
    algorithm: type, model: nn.Module, entry: dict[str, Any], **more: Any
) -> tuple[Any, Any]:
    """The algorithm and its result on the arguments of an entry, from the same seed each time."""
    _, _, arguments, layer, noise_tunnel, _ = parse_test_config(entry)
    inner = algorithm(model) if layer is None else algorithm(model, get_target_layer(model, layer))
    outer = NoiseTunnel(inner) if noise_tunnel else inner
    torch.manual_seed(1234)
    result = outer.attribute(**copy.deepcopy(arguments), **more)
    return inner, result


def assert_same(actual: Any, expected: Any, **tolerance: float) -> None:
    assert type(actual) is type(expected)
    torch.testing.assert_close(actual, expected, **tolerance)


def magnitude(result: Tensor | tuple[Tensor, ...]) -> float:
    tensors = (result,) if isinstance(result, Tensor) else result
    return max(float(tensor.abs().max()) for tensor in tensors)


def is_certified(variant: str, entry: dict[str, Any]) -> bool:
    """Whether one pass is exact: no bias, no baseline, no argument added to the inputs."""
    arguments = entry["attribute_args"]
    added = arguments.get("additional_forward_args", (None,))[0]
    return variant == "unbiased" and "baselines" not in arguments and added is None


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", CONFIGS)
def test_attributions_are_captums_by_every_method(name: str, variant: str) -> None:
    entry = CONFIGS[name]
    model = VARIANTS[variant](copy.deepcopy(entry["model"]))
    certified = is_certified(variant, entry)
    _, exact = attributed(IntegratedGradients, model, entry)
    close = {"rtol": 1e-5, "atol": 1e-6 * magnitude(exact)}
    for method in METHODS:
        xig, actual = attributed(XIntegratedGradients, model, entry, method=method)
        _, captums = attributed(IntegratedGradients, model, entry, method=method)
        assert (xig.last_route == "single_pass") == certified
        if xig.last_route == "captum" and not entry.get(
            "noise_tunnel"
        ):  # whose calls choose by time
            assert_same(actual, captums, rtol=0.0, atol=0.0)
        elif not certified:
            assert_same(actual, captums, rtol=1e-5, atol=1e-6 * magnitude(captums))
        else:
            assert_same(actual, exact, **close)
        if certified and method in AGREEING_METHODS:
            assert_same(actual, captums, **close)


@pytest.mark.parametrize("multiply_by_inputs", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", [name for name in CONFIGS if "noise_tunnel" not in CONFIGS[name]])
def test_convergence_delta_is_captums(name: str, variant: str, multiply_by_inputs: bool) -> None:
    entry = CONFIGS[name]
    model = VARIANTS[variant](copy.deepcopy(entry["model"]))
    arguments = entry["attribute_args"]
    attributions, delta = XIntegratedGradients(model, multiply_by_inputs).attribute(
        **copy.deepcopy(arguments), return_convergence_delta=True
    )
    expected, expected_delta = IntegratedGradients(model, multiply_by_inputs).attribute(
        **copy.deepcopy(arguments), return_convergence_delta=True
    )
    scale = max(1.0, magnitude(expected))
    assert_same(attributions, expected, rtol=1e-5, atol=1e-6 * scale)
    assert_same(delta, expected_delta, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("name", "algorithm"),
    AROUND_IT,
    ids=[f"{name}-{algorithm.__name__}" for name, algorithm in AROUND_IT],
)
def test_layers_and_neurons_with_the_class_swapped(
    name: str, algorithm: type, variant: str
) -> None:
    """They put their own gradient function into the class: Captum's numbers, bit for bit."""
    entry = next(entry for entry in captum_table if entry["name"] == name)
    model = VARIANTS[variant](copy.deepcopy(entry["model"]))
    results = []
    for context in (nullcontext(), integrated_gradients_is(XIntegratedGradients)):
        with context:
            results.append(attributed(algorithm, model, entry)[1])
    assert_same(results[1], results[0], rtol=0.0, atol=0.0)


def test_the_swap_reaches_the_inner_object_and_is_undone() -> None:
    import captum.attr
    from captum.attr import LayerIntegratedGradients

    entry = next(entry for entry in captum_table if entry["name"] == "basic_layer_in_place")
    model = copy.deepcopy(entry["model"])
    with integrated_gradients_is(XIntegratedGradients):
        assert captum.attr.IntegratedGradients is XIntegratedGradients
        inner = LayerIntegratedGradients(model, model.relu).ig
    assert type(inner) is XIntegratedGradients
    assert captum.attr.IntegratedGradients is IntegratedGradients
    assert type(LayerIntegratedGradients(model, model.relu).ig) is IntegratedGradients
