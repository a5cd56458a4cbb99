"""A function that is made for each call, or runs otherwise in each, costs no look at every call.

Looks and proofs are counted; what they took is set.
"""

from __future__ import annotations

import copy
import functools
import gc
import weakref
from collections.abc import Callable
from typing import Any

import captum.attr
import pytest
import torch
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients
from captum_xdnn.attr import by_routes
from captum_xdnn.attr.by_routes import captums_sum
from captum_xdnn.proof import watching
from captum_xdnn.proof.verdict import prove
from captum_xdnn.recording import steps
from captum_xdnn.routes import choice, kinds
from captum_xdnn.routes import looks as module
from captum_xdnn.routes.looks import FIRST, STEADY

CALLS = 20
X = torch.linspace(-1, 2, 12, dtype=torch.float64).view(3, 4)


def layers(*, bias: bool) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5, bias=bias), nn.ReLU(), nn.Linear(5, 2, bias=bias)).double()


class Slots:
    """Nothing can refer to it weakly."""

    __slots__ = ("net",)

    def __init__(self, net: Any) -> None:
        self.net = net

    def __call__(self, x: Tensor) -> Tensor:
        return self.net(x).sin()


class Owner:
    def __init__(self, net: Any) -> None:
        self.net = net

    def explained(self, x: Tensor) -> Tensor:
        return self.net(x).sin()


def _sine(net: Any, x: Tensor) -> Tensor:
    return net(x).sin()


BENT = nn.Sequential(layers(bias=True), nn.Softplus())
MAKERS: dict[str, Callable[[Any], Any]] = {
    "lambda": lambda net: lambda x: net(x).sin(),
    "copy": copy.deepcopy,
    "new network": lambda net: nn.Sequential(layers(bias=True), nn.Softplus()),
    "wrapper": lambda net: nn.Sequential(net, nn.Softplus()),
    "slots": Slots,
    "method": lambda net: Owner(net).explained,
    "partial": lambda net: functools.partial(_sine, net),
}


@pytest.fixture
def looks(looks: list[int], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """None is free beyond the first."""
    monkeypatch.setattr(module, "SHARE", 0.0)
    return looks


def attribute(function: Any, x: Tensor = X, *, exactly: bool = True) -> str | None:
    """The route of a call whose attributions are Captum's."""
    xig = XIntegratedGradients(function)
    found = xig.attribute(x, target=1, n_steps=8)
    expected = captum.attr.IntegratedGradients(function).attribute(x, target=1, n_steps=8)
    torch.testing.assert_close(
        found, expected, rtol=0 if exactly else 1e-6, atol=0 if exactly else 1e-9
    )
    return xig.last_route


@pytest.mark.parametrize("kind", MAKERS)
def test_new_functions_that_are_refused_are_few_looks(kind: str, looks: list[int]) -> None:
    for _ in range(CALLS):
        assert attribute(MAKERS[kind](BENT)) == "captum"
    assert len(looks) == FIRST


@pytest.mark.parametrize("kind", ["lambda", "copy", "partial"])
def test_new_functions_that_are_fast_are_all_looked_at(kind: str, looks: list[int]) -> None:
    net = layers(bias=False)
    makers = {**MAKERS, "lambda": lambda n: lambda x: n(x), "partial": functools.partial}
    for _ in range(CALLS):
        assert attribute(makers[kind](net), exactly=False) == "single_pass"
    assert len(looks) == CALLS


def test_other_kinds_are_looked_at(looks: list[int]) -> None:
    """The same code around other modules, and another part of the same network."""
    make = lambda net: lambda x: net(x)  # noqa: E731
    for _ in range(5):
        attribute(make(BENT))
    assert attribute(make(layers(bias=True)), exactly=False) != ""
    assert attribute(make(layers(bias=False)), exactly=False) == "single_pass"
    assert len(looks) == FIRST + 2


def test_larger_calls_of_new_functions_are_looked_at(looks: list[int]) -> None:
    for _ in range(5):
        attribute(MAKERS["lambda"](BENT))
    attribute(MAKERS["lambda"](BENT), X.repeat(3, 1))
    assert looks == [X.numel()] * FIRST + [3 * X.numel()]


def test_what_is_kept_of_kinds_holds_no_function_and_is_bounded() -> None:
    net = copy.deepcopy(BENT)
    alive = [weakref.ref(net), weakref.ref(net[0][0].weight)]
    for _ in range(3):
        attribute(net)
        attribute(lambda x, held=net: held(x))
    assert kinds._LOOKS
    assert all(each.refusal.certificate.segments is None for each in kinds._LOOKS.values())
    del net
    gc.collect()
    assert [reference() for reference in alive] == [None, None]
    for number in range(2 * kinds.MOST):
        attribute(eval(f"lambda x: x.sin() * {number}"))
    assert len(kinds._LOOKS) <= kinds.MOST


class Tempered(nn.Module):
    """Homogeneous; a number in it is another structure."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.tau, self.power = layers(bias=False), 1.0, 1.0

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.net(x) * self.tau)


class Clock:
    """The time stands still but for proofs and Captum's code, which take so many seconds."""

    def __init__(self, proof: float, captum: float) -> None:
        self.proof, self.captum, self.now, self.proofs = proof, captum, 0.0, 0

    def read(self, device: Any = None) -> float:
        return self.now

    def proving(self, *args: Any) -> Any:
        self.now += self.proof
        self.proofs += 1
        return prove(*args)

    def summing(self, *args: Any) -> Any:
        self.now += self.captum
        return captums_sum(*args)


def _clock(monkeypatch: pytest.MonkeyPatch, proof: float, captum: float) -> Clock:
    clock = Clock(proof, captum)
    steps.forget()
    for place, name in ((choice, "clock"), (by_routes, "clock"), (by_routes, "now")):
        monkeypatch.setattr(place, name, clock.read)
    monkeypatch.setattr(watching, "prove", clock.proving)
    monkeypatch.setattr(by_routes, "captums_sum", clock.summing)
    return clock


@pytest.mark.parametrize("changes", ["attribute", "closure", "clamp"])
def test_what_runs_otherwise_in_each_call_is_not_proved_in_each(
    changes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = _clock(monkeypatch, proof=1.0, captum=0.5)
    net = Tempered()

    def function(number: int) -> Any:
        if changes == "attribute":
            net.tau = 1 + number / 8
            return net
        if changes == "closure":
            return lambda x: net(x) / (1 + number / 8)
        return lambda x: net(x).clamp(min=0) * (number + 0.5)

    for number in range(CALLS):
        attribute(function(number), exactly=False)
    assert clock.proofs == FIRST
    clock.proofs = 0
    routes = [attribute(function(99), exactly=False) for _ in range(120)]
    assert routes[-STEADY:] == ["single_pass"] * STEADY  # it stands still, and that is found
    assert clock.proofs <= 2


@pytest.mark.parametrize("proof", [0.2, 1.0])
def test_new_proofs_that_are_faster_than_captums_code_go_on(
    proof: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = _clock(monkeypatch, proof=proof, captum=proof + 0.5)
    net, routes = Tempered(), []
    for number in range(CALLS):
        net.tau = 1 + number / 8
        routes.append(attribute(net, exactly=False))
    assert routes.count("captum") == 2  # it was timed
    assert clock.proofs == CALLS - 2
