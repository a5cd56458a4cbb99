"""What is accelerated: Captum's objects, whoever made them, at every form of their calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import captum.attr
import pytest
import torch
from accelerated_networks import CLOSE, NETWORKS, SAME, assert_captums, network, rows, with_softmax
from captum.attr import (
    IntegratedGradients,
    LayerIntegratedGradients,
    NeuronIntegratedGradients,
    NoiseTunnel,
)
from captum.attr._core.integrated_gradients import IntegratedGradients as OfTheModule
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import accelerate_captum

AGREEING_RULES = ("gausslegendre", "riemann_right", "riemann_middle")
OTHER_RULES = ("riemann_left", "riemann_trapezoid")
"""Rules that miss the integral of a constant by a constant factor."""


@pytest.mark.parametrize("route", NETWORKS)
@pytest.mark.parametrize("made", ["before", "inside", "by another import"])
def test_it_does_not_matter_when_and_where_an_object_was_made(made: str, route: str) -> None:
    function, x = NETWORKS[route](), rows()
    call: dict[str, Any] = {"target": 1, "return_convergence_delta": True}
    earlier = IntegratedGradients(function)
    expected = earlier.attribute(x, **call)
    with accelerate_captum() as acceleration:
        if made == "before":
            method = earlier
        else:
            method = (IntegratedGradients if made == "inside" else OfTheModule)(function)
        found = method.attribute(x, **call)
        assert type(method) is captum.attr.IntegratedGradients
    assert acceleration.routes == Counter({route: 1})
    assert_close(found, expected, **CLOSE)
    assert_close(method.attribute(x, **call), expected, **SAME)
    assert acceleration.routes == Counter({route: 1})


@pytest.mark.parametrize("multiply_by_inputs", [True, False])
@pytest.mark.parametrize("bound", [None, 8])
@pytest.mark.parametrize("rule", [*AGREEING_RULES, *OTHER_RULES])
def test_hoisted_numbers_are_captums_of_the_same_rule(
    rule: str, bound: int | None, multiply_by_inputs: bool
) -> None:
    x = rows()
    method = IntegratedGradients(with_softmax(), multiply_by_inputs)
    call: dict[str, Any] = {
        "target": torch.tensor([0, 1, 2, 1]),
        "baselines": 0.0,
        "n_steps": 13,
        "method": rule,
        "internal_batch_size": bound,
    }
    assert_captums(method, x, Counter(hoisted=1), **call)


@pytest.mark.parametrize("rule", AGREEING_RULES)
def test_a_single_pass_is_captums_number_by_the_rules_that_give_a_constant_its_value(
    rule: str,
) -> None:
    method, x = IntegratedGradients(network()), rows()
    assert_captums(method, x, Counter(single_pass=1), target=1, n_steps=9, method=rule)


@pytest.mark.parametrize("rule", OTHER_RULES)
def test_the_documented_exception_is_a_constant_factor(rule: str) -> None:
    """One pass is the exact integral, which those two rules miss by the sum of their weights."""
    method, x, steps = IntegratedGradients(network()), rows(), 9
    exact = method.attribute(x, target=1)
    captums = method.attribute(x, target=1, n_steps=steps, method=rule)
    with accelerate_captum() as acceleration:
        found, delta = method.attribute(
            x, target=1, n_steps=steps, method=rule, return_convergence_delta=True
        )
    assert acceleration.routes == Counter(single_pass=1)
    assert_close(found, exact, **CLOSE)
    assert_close(delta, torch.zeros_like(delta), rtol=0, atol=1e-12)
    factor = captums.sum() / exact.sum()
    assert abs(float(factor) - 1) > 1e-3
    assert_close(captums, factor * exact, **CLOSE)
    assert "riemann_left" in (accelerate_captum.__doc__ or "")


@pytest.mark.parametrize("at_input", [False, True])
@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("route", ["single_pass", "hoisted"])
def test_layers(route: str, layer: int, at_input: bool) -> None:
    net, x = NETWORKS[route](), rows()
    call: dict[str, Any] = {
        "target": 1,
        "return_convergence_delta": True,
        "attribute_to_layer_input": at_input,
    }
    method = LayerIntegratedGradients(net, net[layer])
    expected = method.attribute(x, **call)
    with accelerate_captum() as acceleration:
        for used in (method, LayerIntegratedGradients(net, net[layer])):
            assert_close(used.attribute(x, **call), expected, **CLOSE)
    assert acceleration.routes == Counter({route: 2})
    assert_close(method.attribute(x, **call), expected, **SAME)


@pytest.mark.filterwarnings("ignore:Multiple layers provided:UserWarning")
def test_several_layers_at_once() -> None:
    first, second = nn.Linear(6, 8, bias=False).double(), nn.Linear(6, 8, bias=False).double()

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = first, second

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.first(x) + self.second(x))

    method, x = LayerIntegratedGradients(Sum(), [first, second]), rows()
    found = assert_captums(method, x, Counter(single_pass=1), target=2)
    assert isinstance(found, list)


@pytest.mark.parametrize("route", ["single_pass", "hoisted"])
@pytest.mark.parametrize("at_input", [False, True])
def test_neurons(at_input: bool, route: str) -> None:
    net, x = NETWORKS[route](), rows()
    layer = net[4] if route == "single_pass" else net[5]
    method = NeuronIntegratedGradients(net, layer)
    call: dict[str, Any] = {"neuron_selector": (2,), "attribute_to_neuron_input": at_input}
    expected = method.attribute(x, **call)
    with accelerate_captum() as acceleration:
        for used in (method, NeuronIntegratedGradients(net, layer)):
            assert_close(used.attribute(x, **call), expected, **CLOSE)
    assert acceleration.routes == Counter({"single_pass" if at_input else route: 2})
    assert_close(method.attribute(x, **call), expected, **SAME)


@pytest.mark.parametrize("route", ["single_pass", "hoisted"])
@pytest.mark.parametrize("nt_type", ["smoothgrad", "smoothgrad_sq", "vargrad"])
def test_noise_tunnel(nt_type: str, route: str) -> None:
    x = rows()
    tunnel = NoiseTunnel(IntegratedGradients(NETWORKS[route]()))
    results = []
    acceleration = accelerate_captum()
    for context in (nullcontext(), acceleration):
        with context:
            torch.manual_seed(3)
            results.append(
                tunnel.attribute(
                    x, nt_type=nt_type, nt_samples=4, stdevs=0.3, nt_samples_batch_size=2, target=1
                )
            )
    assert acceleration.routes == Counter({route: 2})
    assert_close(results[1], results[0], rtol=1e-6, atol=1e-10)


class Untouched(IntegratedGradients):
    """Has a name and a state of its own, and integrates as Captum does."""

    def __init__(self, forward_func: Callable[..., Any]) -> None:
        super().__init__(forward_func)
        self.note = "mine"

    def get_name(self) -> str:
        return "Mine"


def test_a_subclass_that_leaves_the_integration_as_it_is() -> None:
    method, x = Untouched(network()), rows()
    assert_captums(method, x, Counter(single_pass=1), target=1)
    assert (method.note, method.get_name()) == ("mine", "Mine")


class Tripling(IntegratedGradients):
    """Calls the ``attribute`` of its base class."""

    def attribute(self, inputs: Tensor, **more: Any) -> Any:
        return 3 * super().attribute(inputs, **more)


def test_a_subclass_that_calls_the_attribute_of_its_base_class() -> None:
    method, x = Tripling(network()), rows()
    assert_captums(method, x, Counter(single_pass=1), target=1)
