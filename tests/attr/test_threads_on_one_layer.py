"""Two threads on one network and one layer, each in the middle of the other's pass.

Captum's hooks act in whatever thread runs the layer; those of this package's calls do not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients, LayerIntegratedGradients, NeuronIntegratedGradients
from layer_family import NAMES, Case, arguments_of, assert_same, method_of, outcome
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients, accelerate_captum

Work = Callable[[], Any]


class Meeting(nn.Module):
    """While one thread passes here, another one does its work, from its beginning to its end."""

    def forward(self, x: Tensor) -> Tensor:
        if threading.get_ident() in WORK:
            with ThreadPoolExecutor(1) as other:
                DONE.append(other.submit(WORK[threading.get_ident()]).result())
        return x


WORK: dict[int, Work] = {}
DONE: list[Any] = []


@contextmanager
def beside(work: Work) -> Iterator[list[Any]]:
    """Work for the other thread, and what came of it each time."""
    DONE.clear()
    WORK[threading.get_ident()] = lambda: outcome(work)
    try:
        yield DONE
    finally:
        WORK.clear()


def network(route: str) -> nn.Sequential:
    """The layer, the third, stands between two meetings."""
    bias = route == "captum"
    first = (nn.Linear(6, 10, bias=bias), Meeting(), nn.Tanh() if bias else nn.ReLU(), Meeting())
    end = nn.Identity() if route == "single_pass" else nn.Softmax(1)
    return nn.Sequential(*first, nn.Linear(10, 3, bias=bias), end).double()


def rows(seed: int) -> Tensor:
    return torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def is_same(found: Any, expected: Any) -> bool:
    try:
        assert_same(found, expected, 1e-6)
    except (AssertionError, AttributeError, TypeError):
        return False
    return True


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("what", ["a prediction", "another call of the object", "another object"])
@pytest.mark.parametrize("route", ["single_pass", "hoisted", "captum"])
@pytest.mark.parametrize("name", NAMES)
def test_each_thread_has_its_own_numbers(name: str, route: str, what: str) -> None:
    net = network(route)
    mine, others = Case(net, net[2], rows(1)), Case(net, net[2], rows(2))
    method, call = method_of(name, mine, ours=True), arguments_of(name, mine)
    again = method if what == "another call of the object" else method_of(name, others, ours=True)
    expected = method.attribute(mine.inputs, **call)
    taken = method.last_route
    theirs = again.attribute(others.inputs, **call)
    work: Work = lambda: again.attribute(others.inputs, **call)  # noqa: E731
    if what == "a prediction":
        work, theirs = lambda: net(others.inputs), net(others.inputs)
    with beside(work) as done:
        found = method.attribute(mine.inputs, **call)
    assert_same(found, expected, 1e-6)
    assert method.last_route == taken
    assert len(done) >= 2  # two meetings in each pass
    for result in done:
        assert_same(result, theirs, 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_captums_own_numbers_are_not_its_own(name: str) -> None:
    """The limit of Captum that the documentation names: the same, by Captum's classes."""
    net = network("captum")
    mine, others = Case(net, net[2], rows(1)), Case(net, net[2], rows(2))
    method, call = method_of(name, mine, ours=False), arguments_of(name, mine)
    expected, prediction = method.attribute(mine.inputs, **call), net(others.inputs)
    with beside(lambda: net(others.inputs)) as done:
        found = outcome(lambda: method.attribute(mine.inputs, **call))
    wrong = [result for result in done if not is_same(result, prediction)]
    assert wrong or not is_same(found, expected)


def test_captums_layer_hooks_reach_integrated_gradients_in_another_thread() -> None:
    """Nor can this package's own call know whose hook it is."""
    net = network("captum")
    theirs = LayerIntegratedGradients(net, net[2])
    for kind in (IntegratedGradients, XIntegratedGradients):
        method = kind(net)
        with beside(lambda method=method: method.attribute(rows(2), target=1, n_steps=7)) as done:
            theirs.attribute(rows(1), target=1, n_steps=7)
        assert RuntimeError in done  # the input was not used


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("route", ["single_pass", "hoisted", "captum"])
@pytest.mark.parametrize("kind", [LayerIntegratedGradients, NeuronIntegratedGradients])
def test_accelerated_objects_of_captum_have_their_own_numbers(kind: Any, route: str) -> None:
    net = network(route)
    method = kind(net, net[2])
    side = f"attribute_to_{'layer' if kind is LayerIntegratedGradients else 'neuron'}_input"
    chosen = {"target": 1} if kind is LayerIntegratedGradients else {"neuron_selector": 1}

    def attribute(seed: int) -> Tensor:
        found: Tensor = method.attribute(rows(seed), n_steps=7, **chosen, **{side: seed == 2})
        return found

    mine, others = attribute(1), attribute(2)
    with accelerate_captum(), beside(lambda: attribute(2)) as done:
        found = attribute(1)
    assert_same(found, mine, 1e-6)
    for result in done:
        assert_same(result, others, 1e-6)


@pytest.mark.parametrize("name", [*NAMES, "IntegratedGradients"])
@pytest.mark.parametrize("route", ["single_pass", "captum"])
def test_acceleration_that_comes_and_goes_within_a_call(name: str, route: str) -> None:
    net = network(route)
    case = Case(net, net[2], rows(1))
    call = arguments_of(name, case) if name in NAMES else {"target": 1, "n_steps": 7}
    method = method_of(name, case, ours=False) if name in NAMES else IntegratedGradients(net)
    expected = method.attribute(case.inputs, **call)
    on: list[accelerate_captum] = []

    def switch() -> None:
        _ = on.pop().disable() if on else on.append(accelerate_captum().enable())

    for _ in range(4):
        with beside(switch):
            assert_same(method.attribute(case.inputs, **call), expected, 1e-6)
    for acceleration in on:
        acceleration.disable()


@pytest.mark.parametrize("route", ["single_pass", "hoisted", "captum"])
@pytest.mark.parametrize("name", NAMES)
def test_a_network_that_runs_in_a_thread_of_the_functions_own(name: str, route: str) -> None:
    """Hooks that act in the calling thread alone would see nothing of it."""
    net = network(route)
    with ThreadPoolExecutor(1) as pool:

        def run(x: Tensor, graded: bool) -> Tensor:
            with torch.set_grad_enabled(graded):
                return net(x)

        def function(x: Tensor) -> Tensor:
            return pool.submit(run, x, torch.is_grad_enabled()).result()

        results = []
        for ours in (False, True):
            method = method_of(name, Case(function, net[2], rows(1)), ours=ours)  # type: ignore[arg-type]
            results.append(method.attribute(rows(1), **arguments_of(name, Case(net, net[2], 0))))
    assert_same(results[1], results[0], 1e-6)
