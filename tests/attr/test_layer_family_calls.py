"""Layers and neurons: refusals, wrong calls, and what a call leaves behind."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from layer_family import (
    CASES,
    NAMES,
    NEURON,
    Case,
    assert_same,
    mlp,
    ours,
    rows,
    theirs,
)
from snapshots import of_module
from torch import Tensor, nn

import captum_xdnn
from captum_xdnn import NotHomogeneousError

# What Captum says of its own arguments.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The neuron_selector provided is a callable:UserWarning"),
]

REFUSED = (
    "biases",
    "softmax",
    "biases, softmax",
    "conv, biases",
    "skip, biases",
)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "NeuronIntegratedGradients"])
@pytest.mark.parametrize("case", REFUSED)
def test_single_pass_or_an_error(name: str, case: str) -> None:
    with pytest.raises(NotHomogeneousError):
        ours(name, CASES[case](), settings={"strategy": "single_pass"})


@pytest.mark.parametrize("case", ["biases", "biases, softmax", "conv, biases"])
def test_single_pass_to_a_neuron_or_an_error(case: str) -> None:
    with pytest.raises(NotHomogeneousError):
        ours("NeuronIntegratedGradients", CASES[case](), settings={"strategy": "single_pass"})


SINGLE_ONLY: dict[str, tuple[str, dict[str, Any]]] = {
    "two tensors": ("LayerConductance", {}),
    "a function": ("NeuronConductance", {"neuron_selector": lambda h: h[0][:, 1]}),
    "the gradient's settings": ("InternalInfluence", {"grad_kwargs": {"retain_graph": True}}),
}


def assert_single_pass_or_an_error(name: str, case: str, **more: Any) -> None:
    try:
        _, route = ours(name, CASES[case](), settings={"strategy": "single_pass"}, **more)
    except NotHomogeneousError:
        return
    assert route == "single_pass"


@pytest.mark.parametrize("kind", SINGLE_ONLY)
def test_single_pass_never_falls_back_in_silence(kind: str) -> None:
    name, more = SINGLE_ONLY[kind]
    assert_single_pass_or_an_error(name, "twins", **more)


@pytest.mark.parametrize("name", NEURON)
def test_single_pass_of_a_sum_of_neurons(name: str) -> None:
    assert_single_pass_or_an_error(name, "no bias", neuron_selector=(slice(0, 3),))


WRONG: dict[str, dict[str, Any]] = {
    "target too large": {"target": 3},
    "no target": {"target": None},
    "targets too few": {"target": torch.tensor([0, 1])},
    "float target": {"target": 1.0},
    "unknown method": {"method": "simpson"},
    "no steps": {"n_steps": 0},
    "negative steps": {"n_steps": -3},
    "baseline of another shape": {"baselines": torch.zeros(4, 5, dtype=torch.float64)},
    "baseline of another batch": {"baselines": torch.zeros(3, 6, dtype=torch.float64)},
    "two baselines": {"baselines": (0, 0)},
    "too many arguments": {"additional_forward_args": (1, 2)},
    "neuron too far": {"neuron_selector": 99},
    "neuron of too many indices": {"neuron_selector": (1, 2, 3)},
    "neuron None": {"neuron_selector": None},
    "string bound": {"internal_batch_size": "4"},
}


def takes(name: str, wrong: str) -> bool:
    if "target" in WRONG[wrong]:
        return name != "NeuronIntegratedGradients"
    return name in NEURON or "neuron_selector" not in WRONG[wrong]


@pytest.mark.parametrize("strategy", ["auto", "single_pass"])
@pytest.mark.parametrize(
    ("name", "wrong"), [(name, wrong) for name in NAMES for wrong in WRONG if takes(name, wrong)]
)
def test_wrong_calls_raise_what_captum_raises(name: str, wrong: str, strategy: str) -> None:
    more = WRONG[wrong]
    case = CASES["no bias"]()
    hooks = [hooks_of(module) for module in case.model.modules()]
    try:
        expected: Any = theirs(name, case, **more)
    except Exception as error:
        expected = type(error)
    if isinstance(expected, type):
        with pytest.raises(expected) as caught:
            ours(name, case, settings={"strategy": strategy}, **more)
        assert caught.type is expected
    elif strategy == "auto":
        assert_same(ours(name, case, **more)[0], expected, 1e-2)
    assert [hooks_of(module) for module in case.model.modules()] == hooks


@pytest.mark.parametrize("name", NAMES)
def test_wrong_inputs_raise_what_captum_raises(name: str) -> None:
    case = CASES["no bias"]()
    unused = nn.Linear(6, 6).double()
    for layer, inputs in (
        (case.layer, rows()[:, :5]),
        (case.layer, rows().float()),
        (case.layer, rows().long()),
        (case.layer, rows()[:0]),
        (case.layer, (rows(), rows())),
        (case.layer, "rows"),
        (unused, rows()),
    ):
        wrong = Case(case.model, layer, inputs)
        with pytest.raises(Exception) as expected:  # noqa: PT011
            theirs(name, wrong)
        with pytest.raises(expected.type) as caught:
            ours(name, wrong)
        assert caught.type is expected.type


def hooks_of(module: nn.Module) -> tuple[int, ...]:
    return (
        len(module._forward_hooks),
        len(module._forward_pre_hooks),
        len(module._backward_hooks),
        len(module._backward_pre_hooks),
    )


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", ["no bias", "softmax", "biases", "in place after", "conv"])
def test_nothing_is_changed(name: str, case: str) -> None:
    example = CASES[case]()
    example.layer.register_forward_hook(lambda module, inputs, output: None)
    before, x = of_module(example.model), example.inputs.clone()
    hooks = [hooks_of(module) for module in example.model.modules()]
    for at_input in (False, True):
        # Captum puts leaves in the layer's place, which torch does not let be changed in place.
        if case != "in place after" or at_input or name != "LayerIntegratedGradients":
            ours(name, example, at_input=at_input)
    assert of_module(example.model) == before
    assert [hooks_of(module) for module in example.model.modules()] == hooks
    assert torch.equal(example.inputs, x)
    assert all(p.grad is None for p in example.model.parameters())


class Fails(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fails = False

    def forward(self, x: Tensor) -> Tensor:
        if self.fails:
            message = "on purpose"
            raise LookupError(message)
        return x


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("known", [False, True])
def test_hooks_are_gone_after_an_exception(name: str, known: bool) -> None:
    fails = Fails()
    model = nn.Sequential(*mlp(), fails)
    case = Case(model, model[1], rows())
    if known:
        ours(name, case)
    fails.fails = True
    with pytest.raises(LookupError, match="on purpose"):
        ours(name, case)
    assert all(hooks_of(module) == (0, 0, 0, 0) for module in model.modules())


@pytest.mark.parametrize("name", NAMES)
def test_the_docstrings_describe_every_argument_and_error(name: str) -> None:
    kind = getattr(captum_xdnn, f"X{name}")
    own = [kind, kind.attribute] if "attribute" in vars(kind) else [kind]
    for described in own:
        words = inspect.getdoc(described) or ""
        for argument in set(inspect.signature(described).parameters) - {"self"}:
            assert f"\n    {argument}: " in words
        assert "\nRaises:\n    " in words
