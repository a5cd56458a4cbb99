"""A function whose output depends on earlier calls is answered by Captum's code, on the state as it was left."""

from __future__ import annotations

import collections
from typing import Any

import captum.attr
import pytest
import torch
from comparing import gap, inputs
from late_readers import LATE, WRITING
from remembering_networks import NETWORKS
from torch import Tensor

import captum_xdnn

CALLS = 4
FAST = ("NumberOfWeights",)
"""Its state follows from weights and the number of calls alone, so each call is a function by itself."""
LAYERS = {
    "IntegratedGradients": ((), {"target": 1}),
    "LayerIntegratedGradients": (("inp",), {"target": 1}),
    "NeuronIntegratedGradients": (("out",), {"neuron_selector": 1}),
    "LayerConductance": (("inp",), {"target": 1}),
    "NeuronConductance": (("inp",), {"neuron_selector": 1, "target": 1}),
    "InternalInfluence": (("inp",), {"target": 1}),
}


def explainer_of(net: Any, method: str, *, ours: bool) -> Any:
    layers, call = LAYERS[method]
    package, name = (captum_xdnn, f"X{method}") if ours else (captum.attr, method)
    made = getattr(package, name)(net, *(getattr(net, layer) for layer in layers))
    return made, lambda x: made.attribute(x, **call)


def tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value.detach().clone()]
    if isinstance(value, int | float):
        return [torch.tensor(float(value))]
    if isinstance(value, dict):
        return [t for held in value.values() for t in tensors(held)]
    if isinstance(value, list | tuple | collections.deque):
        return [t for held in value for t in tensors(held)]
    return []


def state_of(net: Any) -> list[Tensor]:
    found = [t.detach().clone() for t in (*net.parameters(), *net.buffers())]
    for module in net.modules():
        for name, value in sorted(vars(module).items()):
            if not name.startswith("_") and name != "training":
                found += tensors(value)
    return found


def runs(kind: Any, method: str, *, ours: bool) -> Any:
    net = kind()
    _, attribute = explainer_of(net, method, ours=ours)
    answers, states = [], []
    for seed in range(CALLS):
        try:
            answers.append(attribute(inputs(seed=seed)))
        except (RuntimeError, AssertionError) as error:
            answers.append(type(error))
        states.append(state_of(net))
    return answers, states


@pytest.mark.filterwarnings("ignore::captum_xdnn.errors.HomogeneityWarning")
@pytest.mark.parametrize("method", LAYERS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_numbers_and_state_are_those_of_captum(kind, method):
    theirs, left = runs(NETWORKS[kind], method, ours=False)
    mine, found = runs(NETWORKS[kind], method, ours=True)
    fast = kind in FAST
    for call in range(CALLS):
        if isinstance(theirs[call], Tensor):
            assert isinstance(mine[call], Tensor), (call, mine[call])
            assert gap(mine[call], theirs[call]) <= (1e-7 if fast else 1e-10), call
        else:
            assert mine[call] is theirs[call]
        assert [t.shape for t in found[call]] == [t.shape for t in left[call]], call
        for one, two in zip(found[call], left[call], strict=True):
            assert torch.allclose(one, two, rtol=1e-10, atol=1e-12), call


@pytest.mark.filterwarnings("ignore::captum_xdnn.errors.HomogeneityWarning")
@pytest.mark.parametrize("method", LAYERS)
@pytest.mark.parametrize("kind", LATE)
def test_state_that_shows_late_is_never_certified_once_it_is_read(kind, method):
    """What is read for the first time in a later call: that call, and all after it, run Captum's code."""
    net = LATE[kind]()
    made, attribute = explainer_of(net, method, ours=True)
    routes = []
    for seed in range(CALLS + 2):
        attribute(inputs(seed=seed))
        routes.append(made.last_route)
    assert routes[-3:] == ["captum"] * 3, routes


@pytest.mark.parametrize("method", LAYERS)
@pytest.mark.parametrize("kind", WRITING)
def test_what_nothing_reads_costs_no_route(kind, method):
    net, plain = WRITING[kind](), WRITING[kind]()
    made, attribute = explainer_of(net, method, ours=True)
    exact = {"n_steps": 500} if "Conductance" in method else {}
    layers, call = LAYERS[method]
    theirs = getattr(captum.attr, method)(plain, *(getattr(plain, layer) for layer in layers))
    for seed in range(3):
        x = inputs(seed=seed)
        tolerance = 5e-3 if exact else 1e-7
        assert gap(attribute(x), theirs.attribute(x, **call, **exact)) <= tolerance
        assert made.last_route == "single_pass"
