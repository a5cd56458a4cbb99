"""The certificate of a call says what that call did: its class, its route, and why not a faster one."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_xdnn import (
    NotHomogeneousError,
    XIntegratedGradients,
    XInternalInfluence,
    XLayerConductance,
    XLayerIntegratedGradients,
    XNeuronConductance,
    XNeuronIntegratedGradients,
    certify,
)
from captum_xdnn.routes import plan

OF_LAYERS = (
    XLayerIntegratedGradients,
    XLayerConductance,
    XInternalInfluence,
    XNeuronIntegratedGradients,
    XNeuronConductance,
)


def network(*, bias: bool, head: nn.Module | None = None) -> nn.Sequential:
    layers = [nn.Linear(40, 64, bias=bias), nn.ReLU(), nn.Linear(64, 32, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(32, 5, bias=bias), head or nn.Identity())


def attributed(kind: Any, model: nn.Sequential, inputs: Tensor, **options: Any) -> Any:
    method = (
        kind(model, **options) if kind is XIntegratedGradients else kind(model, model[2], **options)
    )
    call: dict[str, Any] = {} if kind is XNeuronIntegratedGradients else {"target": 1}
    if "Neuron" in kind.__name__:
        call["neuron_selector"] = 3
    method.attribute(inputs, **call)
    return method


NETWORKS = {
    "homogeneous": network(bias=False),
    "with a softmax": network(bias=False, head=nn.Softmax(-1)),
    "with biases": network(bias=True),
    "with biases and a tanh": network(bias=True, head=nn.Tanh()),
    "bent at once": nn.Sequential(nn.Tanh(), *network(bias=True)),
}


@pytest.mark.parametrize("rows", [1, 2, 17, 64])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_route_that_is_predicted_is_taken(
    name: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "WORTH_IT", 1.25)
    monkeypatch.setattr(plan, "CERTAIN", 4.0)
    model, inputs = NETWORKS[name], torch.rand(rows, 40)
    method = XIntegratedGradients(model)
    method.attribute(inputs, target=1)
    found = certify(model, inputs)
    assert method.certificate == found
    said = str(found).partition("\n")[0]
    if found.homogeneous:
        assert said.startswith("CERTIFIED")
        assert method.last_route == "single_pass"
    elif found.speed_up > 1:
        assert method.last_route == "hoisted"
        predicted = rf"XIntegratedGradients with 50 steps hoists .* Captum's IntegratedGradients for {rows} rows?"
        assert re.search(predicted + " on one thread of a CPU", said)
        assert ("time both" in said) == found.timed
    else:
        assert "Captum's own IntegratedGradients runs" in said
        assert method.last_route == "captum"


def test_what_is_predicted_grows_with_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "WORTH_IT", 0.0)
    model = NETWORKS["with a softmax"]
    predicted = [certify(model, torch.rand(n, 40)).speed_up for n in (1, 16, 256)]
    assert 1 < predicted[0] < predicted[1] / 2 < predicted[2] / 8


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", OF_LAYERS)
def test_the_class_of_a_layer_is_named_without_a_number(kind: Any, name: str) -> None:
    model, inputs = NETWORKS[name], torch.rand(64, 40)
    if name == "bent at once":
        model = nn.Sequential(*model[:3], *model[3:])
    method = attributed(kind, model, inputs)
    said = str(method.certificate)
    own, first = kind.__name__, said.partition("\n")[0]
    if method.last_route == "single_pass":
        assert first.startswith("CERTIFIED")
    elif method.last_route == "hoisted":
        assert f"{own} with 50 steps hoists the trunk" in first
        assert "faster than" not in first
    else:
        assert f"Captum's own {own.removeprefix('X')} runs" in first


class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x * 1

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * gradient


@pytest.mark.filterwarnings("ignore::captum_xdnn.errors.HomogeneityWarning")
def test_a_proof_that_a_check_refuses_is_not_said_to_be_taken() -> None:
    weight = torch.rand(40, 5)
    method = XIntegratedGradients(lambda x: Wrong.apply(x) @ weight)
    method.attribute(torch.rand(3, 40), target=0)
    assert method.last_route == "captum"
    certificate = method.certificate
    assert certificate is not None
    assert str(certificate).startswith("NOT TAKEN: Captum's own IntegratedGradients runs (")
    labels = [t.get_text() for t in certificate.plot().axes[0].get_legend().get_texts()]
    assert labels == ["one pass: proved, but Captum's own code runs"]


def test_code_of_ones_own_on_the_gradient_is_not_said_to_be_hoisted() -> None:
    weight = torch.rand(40, 5)

    def function(x: Tensor) -> Tensor:
        return torch.softmax(Wrong.apply(x) @ weight, -1)

    inputs = torch.rand(64, 40)
    method = XIntegratedGradients(function)
    method.attribute(inputs, target=0)
    assert method.last_route == "captum"
    for certificate in (method.certificate, certify(function, inputs)):
        assert "Captum's own IntegratedGradients runs" in str(certificate)


@pytest.mark.parametrize("kind", [XIntegratedGradients, *OF_LAYERS])
def test_the_message_of_a_refused_single_pass(kind: Any) -> None:
    model = network(bias=True, head=nn.Tanh())
    with pytest.raises(NotHomogeneousError) as raised:
        attributed(kind, model, torch.rand(2, 40), strategy="single_pass")
    said = str(raised.value)
    assert "hoists" not in said
    assert "faster" not in said
    assert "Linear: bias of" in said
    assert "remedy: " in said


def test_a_layer_that_is_not_zero_at_the_baseline() -> None:
    model = network(bias=True)
    method = attributed(XLayerIntegratedGradients, model, torch.rand(2, 40))
    blocker = method.certificate.blockers[0]
    assert blocker.reason == "what the layer gives at the baseline is not zero"


@pytest.mark.parametrize("kind", [XNeuronIntegratedGradients, XNeuronConductance])
@pytest.mark.filterwarnings("ignore:The neuron_selector provided is a callable")
def test_a_selector_that_is_a_function(kind: Any) -> None:
    model = network(bias=False)
    call: dict[str, Any] = {} if kind is XNeuronIntegratedGradients else {"target": 1}
    method = kind(model, model[2], strategy="single_pass")
    with pytest.raises(NotHomogeneousError, match=r"function as selector|function\nas selector"):
        method.attribute(torch.rand(2, 40), neuron_selector=lambda v: v[:, 0], **call)
