"""A function that changes between two calls of one explainer is answered as it is now."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import changes_of_code
import changes_of_modules
import changes_of_values
import changes_of_weights
import pytest
import torch
from comparing import compare, inputs, linear, network
from settings_makers import CHANGES as ALL
from torch.nn.modules import module as modules

from captum_xdnn import XIntegratedGradients
from captum_xdnn.errors import NotHomogeneousError

MADE_BY = (changes_of_code, changes_of_modules, changes_of_values, changes_of_weights)
pytestmark = pytest.mark.filterwarnings("ignore::captum_xdnn.errors.HomogeneityWarning")


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch):
    monkeypatch.delenv("FIELD_SHIFT", raising=False)
    hooks = dict(modules._global_forward_hooks)
    yield
    modules._global_forward_hooks.clear()
    modules._global_forward_hooks.update(hooks)
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("kind", ALL)
def test_the_next_call_answers_the_changed_function(kind):
    function, change, *undo = ALL[kind]()
    explainer, x = XIntegratedGradients(function), inputs()
    try:
        first = compare(explainer, function, x)
        compare(explainer, function, x)
        change()
        second = compare(explainer, function, x)
        compare(explainer, function, 1.3 * x)
        assert not torch.allclose(first, second, rtol=1e-6), "the change changes nothing"
    finally:
        for action in undo:
            action()
    if undo:
        third = compare(explainer, function, x)
        assert torch.allclose(first, third, rtol=1e-6)


@pytest.mark.parametrize("strategy", ["single_pass", "auto"])
def test_zero_biases_that_training_moves_are_seen(strategy):

    net, x = network(bias=True), inputs()
    for layer in (net[0], net[2]):
        torch.nn.init.zeros_(layer.bias)
    explainer = XIntegratedGradients(net, strategy=strategy)
    for _ in range(2):
        compare(explainer, net, x)
        assert explainer.last_route == "single_pass"
        with torch.no_grad():
            net[0].bias.add_(0.3)
        if strategy == "single_pass":
            with pytest.raises(NotHomogeneousError):
                explainer.attribute(x, target=1)
        else:
            compare(explainer, net, x)
            assert explainer.last_route != "single_pass"
        with torch.no_grad():
            net[0].bias.zero_()


def test_flags_of_weights_change_no_number():
    net, x = network(bias=True), inputs()
    torch.nn.init.zeros_(net[0].bias)
    explainer = XIntegratedGradients(net, strategy="single_pass")
    first = compare(explainer, net, x)
    for flag in (False, True, False):
        net.requires_grad_(flag)
        assert torch.equal(compare(explainer, net, x), first)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_another_dtype_and_back(dtype):
    net, x = network(), inputs()
    explainer = XIntegratedGradients(net, strategy="single_pass")
    first = compare(explainer, net, x)
    net.to(dtype)
    narrow = explainer.attribute(x.to(dtype), target=1)
    assert torch.allclose(narrow.double(), first, rtol=0.1, atol=0.02)
    net.to(torch.float64)
    if dtype == torch.float32:
        assert torch.allclose(compare(explainer, net, x), first, rtol=1e-5)


def test_two_explainers_in_many_threads_while_the_function_changes():
    """Each thread has its own setting; all share what is known of the runs."""

    def work(seed: int) -> None:
        first, last, shift = linear(8, seed=seed), linear(2, seed=1, width=8), [0.0]
        function = lambda x: last((first(x) + shift[0]).relu())  # noqa: E731
        explainer = XIntegratedGradients(function)
        for call in range(8):
            shift[0] = 0.3 * (call % 2)
            compare(explainer, function, inputs(seed=call))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
