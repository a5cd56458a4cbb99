"""Layers and neurons: what is known is of this network, this layer and this moment, and dies with it."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref
from typing import Any

import pytest
import torch
from changes import Doubled
from layer_family import (
    CASES,
    NAMES,
    Case,
    arguments_of,
    assert_same,
    chain,
    method_of,
    ours,
    rows,
    theirs,
)
from torch import Tensor, nn

import captum_xdnn


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", ["no bias", "softmax", "biases"])
def test_knowledge_dies_with_the_model(name: str, case: str) -> None:
    example = CASES[case]()
    method = method_of(name, example, ours=True)
    method.attribute(example.inputs, **arguments_of(name, example))
    references = [weakref.ref(example.model), *map(weakref.ref, example.model.parameters())]
    del method, example
    for _ in range(2):  # Captum's object and its gradient function hold each other
        gc.collect()
    assert [reference() for reference in references] == [None] * len(references)


def route_checked(name: str, case: Case) -> str | None:
    """The route of a call whose numbers, of many steps, are Captum's."""
    call = {"method": "gausslegendre", "n_steps": 300}
    found, route = ours(name, case, **call)
    rtol = 1e-2 if name == "LayerConductance" and route == "single_pass" else 1e-6
    assert_same(found, theirs(name, case, **call), rtol)
    return route


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("name", NAMES)
def test_weights_and_hooks_that_change_between_calls(name: str) -> None:
    for case in ("no bias", "softmax"):
        example = CASES[case]()
        first = route_checked(name, example)
        with torch.no_grad():
            for parameter in example.model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        assert route_checked(name, example) == first
        example.model[2].weight = nn.Parameter(torch.randn_like(example.model[2].weight))
        assert route_checked(name, example) == first
        example.model[0].bias = nn.Parameter(torch.randn(len(example.model[0].weight)).double())
        route_checked(name, example)
        hook = example.model[0].register_forward_hook(lambda m, i, o: o.sin())
        assert route_checked(name, example) != "single_pass"
        hook.remove()
        route_checked(name, example)
        handle = example.layer.register_full_backward_hook(lambda m, i, o: (i[0] * 2,))
        route_checked(name, example)
        handle.remove()


@pytest.mark.parametrize("name", NAMES)
def test_an_objects_own_layer_counts(name: str) -> None:
    """Functions of one network by several of its layers are told apart."""
    model, x = chain(inplace=False), rows()
    for layer in (model[0], model[1], model[2], model[0]):
        for at_input in (False, True):
            case = Case(model, layer, x)
            found = ours(name, case, at_input=at_input)[0]
            fresh = copy.deepcopy(model)
            twin = dict(zip(model.modules(), fresh.modules(), strict=True))[layer]
            assert_same(found, ours(name, Case(fresh, twin, x), at_input=at_input)[0], 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_pickles(name: str) -> None:
    case = CASES["no bias"]()
    method = method_of(name, case, ours=True)
    arguments = arguments_of(name, case)
    expected = ours(name, case)[0]
    if name != "LayerIntegratedGradients":  # Captum's keeps a local function once it was called
        method.attribute(case.inputs, **arguments)
    for twin in (copy.deepcopy(method), pickle.loads(pickle.dumps(method))):
        assert twin.last_route is None
        assert_same(twin.attribute(case.inputs, **arguments), expected, 1e-12)
        assert twin.last_route == "single_pass"


@pytest.mark.filterwarnings("ignore::captum_xdnn.HomogeneityWarning")
@pytest.mark.parametrize("name", NAMES)
def test_a_backward_pass_of_ones_own(name: str) -> None:
    """No certificate holds of it: Captum's numbers."""

    class Own(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Doubled.apply(x)

    model = nn.Sequential(nn.Linear(6, 5, bias=False), Own(), nn.ReLU(), nn.Linear(5, 3)).double()
    for layer in (model[0], model[2]):
        route_checked(name, Case(model, layer, rows()))


@pytest.mark.parametrize("name", NAMES)
def test_threads_with_networks_of_their_own(name: str) -> None:
    """On one network even Captum's own hooks of these methods meet each other."""
    cases = [CASES["no bias"]() for _ in range(3)]
    expected, found = [ours_alone(name, case) for case in cases], {}

    def work(index: int) -> None:
        found[index] = [ours_alone(name, cases[index]) for _ in range(3)]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, one in enumerate(expected):
        assert_same(found[index], [one] * 3, 1e-12)


def ours_alone(name: str, case: Case) -> Any:
    return ours(name, case)[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_contradiction_is_told_where_the_user_calls(name: str) -> None:
    case = CASES["no bias"]()
    method, arguments = method_of(name, case, ours=True), arguments_of(name, case)
    method.attribute(case.inputs, **arguments)
    assert method.last_route == "single_pass"
    for module in case.model:
        module.register_full_backward_hook(lambda module, into, out: (2 * into[0],))
    with pytest.warns(captum_xdnn.HomogeneityWarning, match="did not hold") as raised:
        found = method.attribute(case.inputs, **arguments)
    assert method.last_route == "captum"
    assert [warning.filename for warning in raised] == [__file__]
    assert_same(found, theirs(name, case), 0.0)
