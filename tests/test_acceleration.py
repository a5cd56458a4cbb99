"""``accelerate_captum``: Captum's objects take the fast routes, whoever made them; then no more."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import captum.attr
import numpy as np
import pytest
import torch
from captum.attr import (
    IntegratedGradients,
    LayerIntegratedGradients,
    NeuronIntegratedGradients,
    NoiseTunnel,
)
from captum.attr._core.integrated_gradients import IntegratedGradients as OfTheModule
from captum.attr._core.neuron import neuron_integrated_gradients as neuron_module
from torch import Tensor, nn
from torch.testing import assert_close

import captum_xdnn
from captum_xdnn import (
    XIntegratedGradients,
    XLayerIntegratedGradients,
    XNeuronIntegratedGradients,
    accelerate_captum,
    acceleration,
)

CLOSE = {"rtol": 1e-7, "atol": 1e-10}
SAME = {"rtol": 0.0, "atol": 0.0}
BEFORE = {
    "attribute": IntegratedGradients.attribute,
    "_make_gradient_func": LayerIntegratedGradients._make_gradient_func,
    "construct_neuron_grad_fn": neuron_module.construct_neuron_grad_fn,
}
AGREEING_RULES = ("gausslegendre", "riemann_right", "riemann_middle")
OTHER_RULES = ("riemann_left", "riemann_trapezoid")
"""Rules that miss the integral of a constant by a constant factor."""


def in_place() -> dict[str, Any]:
    return {
        "attribute": IntegratedGradients.attribute,
        "_make_gradient_func": LayerIntegratedGradients._make_gradient_func,
        "construct_neuron_grad_fn": neuron_module.construct_neuron_grad_fn,
    }


@pytest.fixture(autouse=True)
def _no_memory_of_earlier_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "_FIRSTS", acceleration._Firsts())


@pytest.fixture(autouse=True)
def _undone_afterwards() -> Any:
    assert in_place() == BEFORE
    yield
    assert in_place() == BEFORE


def network() -> nn.Sequential:
    """Degree 1 without biases."""
    return nn.Sequential(
        nn.Linear(6, 16, bias=False),
        nn.ReLU(),
        nn.Linear(16, 12, bias=False),
        nn.ReLU(),
        nn.Linear(12, 3, bias=False),
    ).double()


def with_softmax() -> nn.Sequential:
    return nn.Sequential(*network(), nn.Softmax(-1))


def refused(x: Tensor) -> Tensor:
    """Cannot be traced."""
    return x.sin() if float(x.detach().sum()) > 1e9 else x.cos() * x


NETWORKS: dict[str, Callable[[], Any]] = {
    "single_pass": network,
    "hoisted": with_softmax,
    "captum": lambda: refused,
}


def rows(batch: int = 4) -> Tensor:
    return torch.randn(batch, 6, dtype=torch.float64)


class Untouched(IntegratedGradients):
    """Has a name and a state of its own, and integrates as Captum does."""

    def __init__(self, forward_func: Callable[..., Any]) -> None:
        super().__init__(forward_func)
        self.note = "mine"

    def get_name(self) -> str:
        return "Mine"


class Tripling(IntegratedGradients):
    """Calls the ``attribute`` of its base class."""

    def attribute(self, inputs: Tensor, **more: Any) -> Any:
        return 3 * super().attribute(inputs, **more)


class Integrating(IntegratedGradients):
    """Integrates in another way."""

    def _attribute(self, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        return tuple(2 * part for part in super()._attribute(*args, **kwargs))


class Comparing(IntegratedGradients):
    """Has a convergence delta of its own."""

    def compute_convergence_delta(self, *args: Any, **kwargs: Any) -> Tensor:
        return 5 + super().compute_convergence_delta(*args, **kwargs)


# What is accelerated


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
    expected = method.attribute(x, **call)
    with accelerate_captum() as acceleration:
        found = method.attribute(x, **call)
    assert acceleration.routes == Counter(hoisted=1)
    assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("rule", AGREEING_RULES)
def test_a_single_pass_is_captums_number_by_the_rules_that_give_a_constant_its_value(
    rule: str,
) -> None:
    method, x = IntegratedGradients(network()), rows()
    expected = method.attribute(x, target=1, n_steps=9, method=rule)
    with accelerate_captum() as acceleration:
        found = method.attribute(x, target=1, n_steps=9, method=rule)
    assert acceleration.routes == Counter(single_pass=1)
    assert_close(found, expected, **CLOSE)


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
    expected = method.attribute(x, target=2)
    with accelerate_captum() as acceleration:
        found = method.attribute(x, target=2)
    assert acceleration.routes == Counter(single_pass=1)
    assert isinstance(found, list)
    assert_close(found, expected, **CLOSE)


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


def test_a_neuron_that_a_function_selects_is_left_alone() -> None:
    net, x = network(), rows()
    method = NeuronIntegratedGradients(net, net[2])
    expected = method.attribute(x, lambda value: value[:, 1] ** 2)
    with accelerate_captum() as acceleration:
        found = method.attribute(x, lambda value: value[:, 1] ** 2)
    assert acceleration.routes["single_pass"] == 0
    assert_close(found, expected, **SAME)


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


def test_a_subclass_that_leaves_the_integration_as_it_is() -> None:
    method, x = Untouched(network()), rows()
    expected = method.attribute(x, target=1)
    with accelerate_captum() as acceleration:
        found = method.attribute(x, target=1)
    assert acceleration.routes == Counter(single_pass=1)
    assert_close(found, expected, **CLOSE)
    assert (method.note, method.get_name()) == ("mine", "Mine")


def test_a_subclass_that_calls_the_attribute_of_its_base_class() -> None:
    method, x = Tripling(network()), rows()
    expected = method.attribute(x, target=1)
    with accelerate_captum() as acceleration:
        found = method.attribute(x, target=1)
    assert acceleration.routes == Counter(single_pass=1)
    assert_close(found, expected, **CLOSE)


# What is left alone


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
    expected = method.attribute(x, **call)
    with accelerate_captum() as acceleration:
        found = method.attribute(x, **call)
    assert acceleration.routes["single_pass"] == 0
    assert_close(found, expected, **SAME)


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
    expected = method.attribute(x, target=1)
    with accelerate_captum() as acceleration:
        found = method.attribute(x, target=1)
    assert acceleration.routes["single_pass"] == 0
    assert_close(found, expected, **SAME)


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


# In force, and then no more


def test_nesting() -> None:
    method, x = IntegratedGradients(network()), rows()
    outer, inner = accelerate_captum(), accelerate_captum()
    with outer:
        method.attribute(x, target=1)
        with inner:
            method.attribute(x, target=1)
        changed = IntegratedGradients.attribute
        method.attribute(x, target=1)
        assert changed is not BEFORE["attribute"]
    method.attribute(x, target=1)
    assert (outer.routes, inner.routes) == (Counter(single_pass=3), Counter(single_pass=1))


def test_one_object_twice() -> None:
    method, x = IntegratedGradients(network()), rows()
    acceleration = accelerate_captum()
    with acceleration:
        with acceleration as again:
            assert again is acceleration
            method.attribute(x, target=1)
        method.attribute(x, target=1)
        assert acceleration.routes == Counter(single_pass=2)
    with acceleration:
        assert acceleration.routes == Counter()
        method.attribute(x, target=1)
    assert acceleration.routes == Counter(single_pass=1)


def test_objects_left_in_another_order() -> None:
    first, second = accelerate_captum().enable(), accelerate_captum().enable()
    first.disable()
    assert IntegratedGradients.attribute is not BEFORE["attribute"]
    second.disable()
    assert in_place() == BEFORE


def test_it_is_undone_on_an_exception() -> None:
    def leave() -> None:
        with accelerate_captum():
            assert IntegratedGradients.attribute is not BEFORE["attribute"]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        leave()
    assert in_place() == BEFORE


def test_disabling_more_often_than_enabling_takes_nothing_from_others() -> None:
    never, once, other = accelerate_captum(), accelerate_captum(), accelerate_captum()
    never.disable()
    assert in_place() == BEFORE
    with other:
        never.disable()
        once.enable()
        for _ in range(3):
            once.disable()
        assert IntegratedGradients.attribute is not BEFORE["attribute"]
    once.disable()
    assert in_place() == BEFORE
    assert once.enable() is once
    assert IntegratedGradients.attribute is not BEFORE["attribute"]
    once.disable()


def test_an_object_that_was_never_enabled_counts_nothing() -> None:
    idle = accelerate_captum()
    with accelerate_captum():
        IntegratedGradients(network()).attribute(rows(), target=1)
    assert idle.routes == Counter()
    assert accelerate_captum().routes == Counter()


def test_routes_are_a_copy() -> None:
    with accelerate_captum() as acceleration:
        acceleration.routes["single_pass"] += 7
        IntegratedGradients(network()).attribute(rows(), target=1)
    acceleration.routes.clear()
    assert acceleration.routes == Counter(single_pass=1)


THREADS, ROUNDS = 6, 8


def test_threads_enter_and_leave_while_others_attribute() -> None:
    x = rows()
    methods = [IntegratedGradients(make()) for make in NETWORKS.values()]
    expected = [method.attribute(x, target=1) for method in methods]
    gate = threading.Barrier(2 * THREADS)

    def switch(number: int) -> None:
        gate.wait()
        for turn in range(10 * ROUNDS):
            acceleration = accelerate_captum().enable()
            if (number + turn) % 3 == 0:
                with acceleration:
                    assert acceleration.routes.total() >= 0
            acceleration.disable()

    def attribute(number: int) -> list[tuple[Tensor, Tensor]]:
        gate.wait()
        pairs = []
        for turn in range(ROUNDS):
            which = (number + turn) % len(methods)
            pairs.append((methods[which].attribute(x, target=1), expected[which]))
        return pairs

    with ThreadPoolExecutor(2 * THREADS) as pool:
        switching = [pool.submit(switch, number) for number in range(THREADS)]
        working = [pool.submit(attribute, number) for number in range(THREADS)]
        for future in switching:
            future.result()
        pairs = [pair for future in working for pair in future.result()]
    assert len(pairs) == THREADS * ROUNDS
    for found, right in pairs:
        assert_close(found, right, **CLOSE)
    assert captum.attr.IntegratedGradients.attribute is BEFORE["attribute"]


def test_every_call_of_many_threads_is_counted() -> None:
    x = rows()
    methods = [IntegratedGradients(NETWORKS[route]()) for route in ("single_pass", "hoisted")]
    with accelerate_captum() as acceleration, ThreadPoolExecutor(THREADS) as pool:
        for future in [
            pool.submit(methods[turn % 2].attribute, x, target=1)
            for turn in range(THREADS * ROUNDS)
        ]:
            future.result()
    assert acceleration.routes == Counter(
        single_pass=THREADS * ROUNDS // 2, hoisted=THREADS * ROUNDS // 2
    )


# It looks like Captum's


def test_it_looks_like_captums_method() -> None:
    captums = BEFORE["attribute"]
    with accelerate_captum():
        now = captum.attr.IntegratedGradients.attribute
        assert now is not captums
        assert inspect.signature(now) == inspect.signature(captums)
        for name in ("__name__", "__qualname__", "__doc__"):
            assert getattr(now, name) == getattr(captums, name)
        assert callable(now.__wrapped__)
        assert now.__wrapped__ is not captums.__wrapped__
        assert list(inspect.signature(now.__wrapped__).parameters) == list(
            inspect.signature(captums.__wrapped__).parameters
        )


def test_calls_of_what_is_wrapped() -> None:
    method, x = IntegratedGradients(network()), rows()
    expected = method.attribute(x, target=1)
    with accelerate_captum() as acceleration:
        found = method.attribute.__wrapped__(method, x, target=1)
        kept = method.attribute
    assert acceleration.routes == Counter(single_pass=1)
    assert_close(found, expected, **CLOSE)
    # A bound method that somebody kept goes on as it was made.
    assert_close(kept(x, target=1), expected, **CLOSE)
    assert acceleration.routes == Counter(single_pass=1)


def test_all_arguments_by_position() -> None:
    net, x = network(), rows()
    method = IntegratedGradients(lambda z, scale: net(z) * scale)
    arguments = (x, torch.zeros(1, 6).double(), 1, (3.0,), 7, "riemann_middle", 8, True)
    expected = method.attribute(*arguments)
    with accelerate_captum() as acceleration:
        found = method.attribute(*arguments)
    assert acceleration.routes == Counter(single_pass=1)
    assert_close(found[0], expected[0], **CLOSE)
    assert_close(found[1], expected[1], rtol=0, atol=1e-7)


def test_a_tuple_of_inputs_gives_a_tuple() -> None:
    left, right = network(), network()
    method = IntegratedGradients(lambda a, b: left(a) + right(b))
    inputs = (rows(), rows())
    expected = method.attribute(inputs, target=1)
    with accelerate_captum() as acceleration:
        found = method.attribute(inputs, target=1)
    assert acceleration.routes == Counter(single_pass=1)
    assert type(found) is tuple
    assert_close(found, expected, **CLOSE)


WRONG: dict[str, dict[str, Any]] = {
    "target too large": {"target": 3},
    "target missing": {},
    "target of text": {"target": "cat"},
    "targets too few": {"target": [0, 1]},
    "baseline of another shape": {"target": 1, "baselines": torch.zeros(4, 5)},
    "baseline of text": {"target": 1, "baselines": "zero"},
    "unknown rule": {"target": 1, "method": "simpson"},
    "no steps": {"target": 1, "n_steps": 0},
    "steps of text": {"target": 1, "n_steps": "50"},
    "one step of the left rule": {"target": 1, "n_steps": 1, "method": "riemann_left"},
    "a bound of text": {"target": 1, "internal_batch_size": "4"},
    "an array": {"inputs": np.zeros((4, 6)), "target": 1},
    "too many features": {"inputs": torch.zeros(4, 7).double(), "target": 1},
    "an argument too many": {"target": 1, "additional_forward_args": (3,)},
    "an unknown keyword": {"target": 1, "steps": 5},
    "a keyword of this package's classes": {"target": 1, "create_graph": True},
}


@pytest.mark.parametrize("route", ["single_pass", "hoisted"])
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_raises_captums_exception(name: str, route: str) -> None:
    method = IntegratedGradients(NETWORKS[route]())
    call = {"inputs": rows(), **WRONG[name]}
    with pytest.raises(Exception) as captums:  # noqa: PT011 - whichever it is
        method.attribute(**call)
    with accelerate_captum(), pytest.raises(captums.type) as found:
        method.attribute(**call)
    assert found.type is captums.type
    if captums.type is not TypeError:
        assert str(found.value) == str(captums.value)


@pytest.mark.parametrize(
    "again", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy, copy.copy]
)
def test_objects_made_inside_pickle_and_copy(again: Callable[[Any], Any]) -> None:
    x = rows()
    with accelerate_captum() as acceleration:
        method = IntegratedGradients(network(), False)
        answer = method.attribute(x, target=1)
        twin = again(method)
        assert_close(twin.attribute(x, target=1), answer, **SAME)
    assert acceleration.routes == Counter(single_pass=2)
    assert type(again(method)) is IntegratedGradients
    assert_close(again(twin).attribute(x, target=1), answer, **CLOSE)
    assert vars(method).keys() == vars(IntegratedGradients(network())).keys()


def test_the_model_is_as_captum_leaves_it() -> None:
    net, x = network(), rows()
    calls = Counter[str]()
    net[0].register_forward_hook(lambda *_: calls.update(["forward"]))
    x.requires_grad_()
    with accelerate_captum():
        IntegratedGradients(net).attribute(x, target=1)
        LayerIntegratedGradients(net, net[2]).attribute(x, target=1)
        NeuronIntegratedGradients(net, net[2]).attribute(x, 1)
    assert x.grad is None
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(not module._forward_hooks for module in list(net)[1:])
    assert all(not module._forward_pre_hooks for module in net.modules())
    assert calls["forward"] > 0


def test_it_is_exported() -> None:
    assert captum_xdnn.accelerate_captum is accelerate_captum
    assert "accelerate_captum" in captum_xdnn.__all__


def test_a_kind_of_function_that_is_made_for_each_call_is_not_traced_for_ever() -> None:
    class Wrapper(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    net, x = network(), rows()
    expected = IntegratedGradients(net).attribute(x, target=1)
    with accelerate_captum() as acceleration_:
        for _ in range(acceleration.ONCE + 3):
            assert_close(
                IntegratedGradients(Wrapper(net)).attribute(x, target=1), expected, **CLOSE
            )
        assert acceleration_.routes == Counter(single_pass=acceleration.ONCE, captum=3)
        kept = Wrapper(net)
        for _ in range(3):
            IntegratedGradients(kept).attribute(x, target=1)
        assert acceleration_.routes == Counter(single_pass=acceleration.ONCE + 2, captum=4)
