"""Layers and neurons: Captum's numbers at the same arguments, or the exact integral in one pass."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
import torch
from captum.attr._utils.approximation_methods import SUPPORTED_METHODS
from layer_family import (
    CAPTUMS_WARNINGS,
    CASES,
    NAMES,
    NEURON,
    WITH_DELTA,
    Case,
    arguments_of,
    assert_captums,
    assert_same,
    method_of,
    mlp,
    ours,
    rows,
    theirs,
)

from captum_xdnn.routes import plan

pytestmark = CAPTUMS_WARNINGS

EXACT_METHODS = ("gausslegendre", "riemann_right", "riemann_middle")
"""Rules whose weights add up to 1; of Layer Conductance the exact value is compared elsewhere."""


@pytest.mark.parametrize("at_input", [False, True], ids=["output", "input"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_parity(name: str, case: str, at_input: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    example = CASES[case]()
    for worth_it in (0, inf):  # hoisting wherever it is possible, and nowhere
        monkeypatch.setattr(plan, "WORTH_IT", worth_it)
        for baseline in (None, 0.25):
            starts = baseline
            if baseline is not None and isinstance(example.inputs, tuple):
                starts = (baseline,) * len(example.inputs)
            route = assert_captums(name, example, at_input=at_input, baselines=starts)
            print(f"{name}, {case}, baseline {baseline}: {route}")
            assert route != "hoisted" or worth_it == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_network_without_biases_takes_one_pass(name: str) -> None:
    assert ours(name, CASES["no bias"]())[1] == "single_pass"
    assert ours(name, CASES["conv"]())[1] == "single_pass"


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", SUPPORTED_METHODS)
@pytest.mark.parametrize("case", ["no bias", "softmax", "biases", "affine output"])
def test_methods(name: str, method: str, case: str) -> None:
    example = CASES[case]()
    found, route = ours(name, example, method=method)
    if route != "single_pass":
        assert_same(found, theirs(name, example, method=method))
    else:  # the same by every rule, and Captum's by the rules that are exact for a constant
        assert_same(found, ours(name, example)[0], 1e-12)
        if method in EXACT_METHODS and name != "LayerConductance":
            assert_same(found, theirs(name, example, method=method), 1e-6)


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", ["no bias", "softmax", "biases", "two inputs", "weighted"])
@pytest.mark.parametrize("bound", [1, 4, 9, 1000])
def test_internal_batch_size(name: str, case: str, bound: int) -> None:
    assert_captums(name, CASES[case](), internal_batch_size=bound)


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", ["no bias", "softmax", "biases"])
@pytest.mark.parametrize("kind", ["tensor", "row", "zeros", "requires grad", "zero"])
def test_baselines(name: str, case: str, kind: str) -> None:
    start = 0.5 * rows()
    baselines = {
        "tensor": start,
        "row": start[:1],
        "zeros": torch.zeros_like(start),
        "requires grad": start.clone().requires_grad_(),
        "zero": 0,
    }[kind]
    assert_captums(name, CASES[case](), baselines=baselines)


TARGETS = {
    "number": 2,
    "tensor": torch.tensor([0, 2, 1, 1]),
    "list": [2, 0, 1, 1],
    "tuple": (2,),
    "one in a tensor": torch.tensor(1),
}


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("name", [n for n in NAMES if n != "NeuronIntegratedGradients"])
@pytest.mark.parametrize("case", ["no bias", "softmax", "biases"])
@pytest.mark.parametrize("target", TARGETS)
def test_targets(name: str, case: str, target: str) -> None:
    assert_captums(name, CASES[case](), target=TARGETS[target])


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", ["no bias", "softmax", "biases", "conv"])
def test_a_batch_of_one_and_no_grad(name: str, case: str) -> None:
    example = CASES[case]()
    whole = ours(name, example)[0]
    lone = Case(example.model, example.layer, example.inputs[:1], example.selector)
    assert_captums(name, lone)
    assert_same(ours(name, lone)[0], whole[:1])
    with torch.no_grad():
        assert_same(ours(name, example)[0], whole)
        assert not torch.is_grad_enabled()


@pytest.mark.usefixtures("always_hoisted")
# Captum's layer conductance holds the graph of one factor, the layer's values: of no use.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "LayerConductance"])
@pytest.mark.parametrize("case", ["no bias", "softmax", "biases"])
def test_the_result_requires_a_gradient_where_captums_does(name: str, case: str) -> None:
    example = CASES[case]()
    for inputs in (example.inputs, example.inputs.clone().requires_grad_()):
        again = Case(example.model, example.layer, inputs)
        assert ours(name, again)[0].requires_grad == theirs(name, again).requires_grad
        assert inputs.grad is None


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("name", NEURON)
@pytest.mark.parametrize("case", ["no bias", "softmax", "biases"])
@pytest.mark.parametrize(
    "selector",
    [0, -1, (2,), (slice(1, 4),), (slice(None),), lambda h: h[:, 1] * h[:, 2], lambda h: h.sum(1)],
    ids=["int", "negative", "tuple", "slice", "all", "product", "sum"],
)
def test_selectors(name: str, case: str, selector: Any) -> None:
    assert_captums(name, CASES[case](), neuron_selector=selector)


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("name", WITH_DELTA)
@pytest.mark.parametrize("at_input", [False, True], ids=["output", "input"])
@pytest.mark.parametrize("case", ["no bias", "softmax", "biases", "affine output", "two inputs"])
def test_convergence_delta(name: str, at_input: bool, case: str) -> None:
    example, more = CASES[case](), {"return_convergence_delta": True, "at_input": at_input}
    (found, delta), route = ours(name, example, **more)
    expected, captums = theirs(name, example, **more)
    assert delta.shape == captums.shape
    if route == "single_pass":
        assert_same(found, ours(name, example, at_input=at_input)[0], 1e-12)
        assert case == "two inputs" or delta.abs().max() < 1e-12
    else:
        assert_same(found, expected)
        torch.testing.assert_close(delta, captums, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "NeuronIntegratedGradients"])
@pytest.mark.parametrize("case", ["no bias", "biases"])
def test_grad_kwargs(name: str, case: str) -> None:
    example, more = CASES[case](), {"grad_kwargs": {"retain_graph": True}}
    found, route = ours(name, example, **more)
    assert route == "captum"
    assert_same(found, theirs(name, example, **more))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", ["no bias", "softmax", "twins"])
def test_strategy_captum(name: str, case: str) -> None:
    example = CASES[case]()
    method = method_of(name, example, ours=True, strategy="captum")
    arguments = arguments_of(name, example)
    if case == "twins" and name in NEURON:
        arguments["neuron_selector"] = lambda h: h[0][:, 1]
        expected = theirs(name, example, neuron_selector=arguments["neuron_selector"])
    else:
        expected = theirs(name, example)
    assert_same(method.attribute(example.inputs, **arguments), expected, 0)
    assert (method.last_route, method.certificate) == ("captum", None)


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", ["no bias", "softmax", "biases", "conv"])
def test_unverified(name: str, case: str) -> None:
    example = CASES[case]()
    found, route = ours(name, example, settings={"verify": False})
    verified, same = ours(name, example)
    assert route == same
    assert_same(found, verified, 1e-12)


@pytest.mark.parametrize("name", ["LayerIntegratedGradients", *NEURON])
def test_multiply_by_inputs(name: str) -> None:
    for case in ("no bias", "softmax"):
        example = CASES[case]()
        methods = [
            method_of(name, example, ours=o, multiply_by_inputs=False) for o in (True, False)
        ]
        results = [m.attribute(example.inputs, **arguments_of(name, example)) for m in methods]
        assert methods[0].multiplies_by_inputs is False
        if methods[0].last_route == "single_pass" and name == "NeuronConductance":
            gauss = arguments_of(name, example, method="gausslegendre")
            results[1] = methods[1].attribute(example.inputs, **gauss)
        assert_same(*results, 1e-6)


@pytest.mark.parametrize("at_input", [False, True], ids=["output", "input"])
def test_the_theorem_for_degree_one(at_input: bool) -> None:
    model, x = mlp(), rows().requires_grad_()
    case, cut = Case(model, model[2], x.detach()), 2 if at_input else 3
    hidden = model[:cut](x)
    output = model[cut:](hidden)[:, 1]
    (by_hidden,) = torch.autograd.grad(output.sum(), hidden, retain_graph=True)
    (by_input,) = torch.autograd.grad(hidden[:, 1].sum(), x)
    expected = {
        "LayerIntegratedGradients": hidden * by_hidden,
        "LayerConductance": hidden * by_hidden,
        "InternalInfluence": by_hidden,
        "NeuronIntegratedGradients": x * by_input,
        "NeuronConductance": x * by_hidden[:, 1:2] * by_input,
    }
    for name, value in expected.items():
        found, route = ours(name, case, at_input=at_input)
        assert route == "single_pass"
        assert_same(found, value.detach(), 1e-12)
    complete = ours("LayerConductance", case, at_input=at_input)[0].sum(1)
    torch.testing.assert_close(complete, output.detach(), rtol=1e-12, atol=1e-12)
