"""What is left alone: objects that integrate in another way, and functions traced too often."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from accelerated_networks import CLOSE, SAME, network, refused, rows
from captum.attr import IntegratedGradients, LayerIntegratedGradients, NeuronIntegratedGradients
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import (
    XIntegratedGradients,
    XLayerIntegratedGradients,
    XNeuronIntegratedGradients,
    accelerate_captum,
)


def assert_left_alone(method: Any, /, *arguments: Any, **call: Any) -> None:
    """The object's own numbers to the last bit, and not by the single pass."""
    expected = method.attribute(*arguments, **call)
    with accelerate_captum() as acceleration:
        found = method.attribute(*arguments, **call)
    assert acceleration.routes["single_pass"] == 0
    assert_close(found, expected, **SAME)


class Integrating(IntegratedGradients):
    """Integrates in another way."""

    def _attribute(self, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        return tuple(2 * part for part in super()._attribute(*args, **kwargs))


class Comparing(IntegratedGradients):
    """Has a convergence delta of its own."""

    def compute_convergence_delta(self, *args: Any, **kwargs: Any) -> Tensor:
        return 5 + super().compute_convergence_delta(*args, **kwargs)


@pytest.mark.parametrize("kind", [Integrating, Comparing])
@pytest.mark.parametrize("bound", [None, 8])
def test_a_subclass_that_integrates_or_compares_in_its_own_way(
    kind: type[IntegratedGradients], bound: int | None
) -> None:
    method, x = kind(network()), rows()
    call: dict[str, Any] = {
        "target": 1,
        "internal_batch_size": bound,
        "return_convergence_delta": True,
    }
    assert_left_alone(method, x, **call)


@pytest.mark.parametrize("name", ["_attribute", "compute_convergence_delta"])
def test_an_object_with_a_method_put_into_it(name: str) -> None:
    method, x = IntegratedGradients(network()), rows()
    original = getattr(method, name)

    def doubled(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        return tuple(2 * part for part in result) if isinstance(result, tuple) else 5 + result

    setattr(method, name, doubled)
    expected = method.attribute(x, target=1, return_convergence_delta=True)
    with accelerate_captum():
        found = method.attribute(x, target=1, return_convergence_delta=True)
    assert_close(found, expected, **SAME)


def test_an_object_with_another_gradient_function() -> None:
    method, x = IntegratedGradients(network()), rows()
    original = method.gradient_func

    @functools.wraps(original)
    def doubled(*args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        return tuple(2 * part for part in original(*args, **kwargs))

    method.gradient_func = doubled
    assert_left_alone(method, x, target=1)


def test_a_wrapper_of_a_layers_gradient_function_is_used() -> None:
    """``functools.wraps`` copies what is noted on a function, and the wrapper is another one."""

    class Doubled(LayerIntegratedGradients):
        def _make_gradient_func(self, *args: Any) -> Any:
            original = super()._make_gradient_func(*args)

            @functools.wraps(original)
            def doubled(*args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
                return tuple(2 * part for part in original(*args, **kwargs))

            return doubled

    net, x = network(), rows()
    expected = Doubled(net, net[2]).attribute(x, target=1)
    assert_close(
        expected, 2 * LayerIntegratedGradients(net, net[2]).attribute(x, target=1), **CLOSE
    )
    with accelerate_captum():
        found = Doubled(net, net[2]).attribute(x, target=1)
    assert_close(found, expected, **CLOSE)


def test_a_neuron_that_a_function_selects_is_left_alone() -> None:
    net, x = network(), rows()
    method = NeuronIntegratedGradients(net, net[2])
    assert_left_alone(method, x, lambda value: value[:, 1] ** 2)


def test_this_packages_own_objects() -> None:
    net, x = network(), rows()
    xig = XIntegratedGradients(net)
    refusing = XIntegratedGradients(net, strategy="captum")
    layer, neuron = XLayerIntegratedGradients(net, net[2]), XNeuronIntegratedGradients(net, net[2])
    calls: list[Callable[[], Tensor]] = [
        lambda: xig.attribute(x, target=1),
        lambda: refusing.attribute(x, target=1),
        lambda: refusing.attribute(x, target=1, internal_batch_size=8),
        lambda: XIntegratedGradients(refused).attribute(x, target=1),
        lambda: xig.attribute(x, target=1, create_graph=True).detach(),
        lambda: layer.attribute(x, target=1),
        lambda: neuron.attribute(x, 1),
        # Captum's method called with one of this package's objects
        lambda: IntegratedGradients.attribute(refusing, x, target=1),
    ]
    expected = [call() for call in calls]
    with accelerate_captum() as acceleration:
        for call, result in zip(calls, expected, strict=True):
            assert_close(call(), result, **SAME)
        assert xig.last_route == layer.last_route == neuron.last_route == "single_pass"
        assert refusing.last_route == "captum"
    assert acceleration.routes == Counter()


def test_a_function_that_is_made_for_each_call_takes_the_fast_route_each_time() -> None:
    class Wrapper(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    net, x = network(), rows()
    expected = IntegratedGradients(net).attribute(x, target=1)
    with accelerate_captum() as acceleration:
        for _ in range(6):
            found = IntegratedGradients(Wrapper(net)).attribute(x, target=1)
            assert_close(found, expected, **CLOSE)
        assert acceleration.routes == Counter(single_pass=6)
