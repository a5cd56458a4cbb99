"""Activations that are not homogeneous become ReLU, or what the caller makes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from captum_xdnn import HomogeneityWarning
from captum_xdnn.convert import Change, to_xdnn

from .networks import rows

REPLACED = {
    "Hardtanh": nn.Hardtanh(),
    "ReLU6": nn.ReLU6(inplace=True),
    "GELU": nn.GELU(approximate="tanh"),
    "SiLU": nn.SiLU(inplace=True),
    "Mish": nn.Mish(),
    "ELU": nn.ELU(),
    "CELU": nn.CELU(),
    "SELU": nn.SELU(),
    "Hardswish": nn.Hardswish(),
    "Softplus": nn.Softplus(),
}
KEPT = {
    "LeakyReLU": nn.LeakyReLU(0.2),
    "ReLU": nn.ReLU(inplace=True),
    "PReLU": nn.PReLU(),
    "Identity": nn.Identity(),
    "Dropout": nn.Dropout(),
}
GATES = {"Sigmoid": nn.Sigmoid(), "Tanh": nn.Tanh(), "Hardsigmoid": nn.Hardsigmoid()}


class OneAfterAnother(nn.ModuleList):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for module in self[0].values():
            x = module(x)
        return x


def _one_after_another(modules: nn.ModuleDict) -> OneAfterAnother:
    return OneAfterAnother([modules]).eval()


def _between(activation: nn.Module) -> nn.Sequential:
    layers = (nn.Linear(4, 5), copy.deepcopy(activation), nn.Linear(5, 3))
    return nn.Sequential(*layers).eval()


def test_replaced() -> None:
    network = nn.ModuleDict(copy.deepcopy(REPLACED))
    made, report = to_xdnn(_one_after_another(network), inputs=rows())
    assert {type(made[0][name]) for name in REPLACED} == {nn.ReLU}
    assert list(report.changes) == [Change(f"0.{n}", n, "became ReLU") for n in REPLACED]
    assert report.homogeneous


def test_homogeneous_already() -> None:
    network = nn.ModuleDict(copy.deepcopy(KEPT))
    made, report = to_xdnn(_one_after_another(network), inputs=rows())
    assert repr(made[0]) == repr(network)
    assert report.changes == ()
    assert report.homogeneous


@pytest.mark.parametrize("name", GATES)
def test_gates_are_left_and_named(name: str) -> None:
    with pytest.warns(HomogeneityWarning, match=rf"1 \({name}\)"):
        made, _ = to_xdnn(_between(GATES[name]), inputs=rows())
    assert type(made[1]) is type(GATES[name])


def test_subclasses() -> None:
    class QuickGELU(nn.GELU):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return input * torch.sigmoid(1.702 * input)

    made, report = to_xdnn(_between(QuickGELU()), inputs=rows())
    assert type(made[1]) is nn.ReLU
    assert Change("1", "QuickGELU", "became ReLU") in report.changes


@pytest.mark.parametrize("factory", [nn.LeakyReLU, lambda: nn.LeakyReLU(0.3), nn.Identity])
def test_the_callers_choice(factory: Any) -> None:
    made, report = to_xdnn(_between(nn.GELU()), inputs=rows(), activation=factory)
    assert repr(made[1]) == repr(factory())
    assert Change("1", "GELU", f"became {type(factory()).__name__}") in report.changes
    assert report.homogeneous


def test_a_choice_with_parameters_gets_their_dtype_and_a_module_of_its_own_each_time() -> None:
    network = nn.Sequential(nn.GELU(), nn.Linear(4, 4), nn.GELU(), nn.SiLU()).double()
    made, report = to_xdnn(network, inputs=rows().double(), activation=nn.PReLU)
    activations = [made[0], made[2], made[3]]
    assert {a.weight.dtype for a in activations} == {torch.float64}
    assert len({id(a.weight) for a in activations}) == 3
    assert report.homogeneous


def test_a_choice_with_parameters_gets_the_device_of_those_before_it() -> None:
    network = nn.Sequential(
        nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 4, device="meta"), nn.GELU(), nn.Dropout()
    )
    with pytest.warns(HomogeneityWarning):
        made, _ = to_xdnn(network, activation=nn.PReLU)
    assert made[1].weight.device.type == "cpu"
    assert made[3].weight.device.type == "meta"


def test_a_choice_that_is_not_homogeneous_is_told() -> None:
    with pytest.warns(HomogeneityWarning, match=r"1 \(Softplus\)"):
        to_xdnn(_between(nn.GELU()), inputs=rows(), activation=nn.Softplus)
