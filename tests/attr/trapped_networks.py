"""A network with places for traps, and how it is compared with its untampered twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from captum.attr import IntegratedGradients
from captum_parity import gap
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients
from captum_xdnn.routes.choice import fast_route
from captum_xdnn.routes.request import Call, Quadrature, Request

STEPS = 6
CLOSE = 1e-7


class Network(nn.Module):
    """A bias-free trunk and a biased head, with a place for a trap in each."""

    def __init__(
        self,
        in_trunk: Callable[[Tensor], Tensor] | None = None,
        in_head: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.first = nn.Linear(6, 12, bias=False)
        self.bend = nn.ReLU()
        self.second = nn.Linear(12, 8, bias=False)
        self.saturated = nn.Tanh()
        self.last = nn.Linear(8, 3)
        self.in_trunk, self.in_head = in_trunk, in_head
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        h = self.bend(self.first(x))
        if self.in_trunk is not None:
            h = self.in_trunk(h)
        h = self.saturated(self.second(h))
        if self.in_head is not None:
            h = self.in_head(h)
        return self.last(h).softmax(1)


def untampered(net: Network) -> Network:
    """A twin with the same weights and no trap."""
    twin = Network()
    twin.load_state_dict(net.state_dict())
    return twin


def attributed(function: Any, x: Tensor) -> tuple[Tensor, str | None]:
    xig = XIntegratedGradients(function)
    return xig.attribute(x, target=1, n_steps=STEPS), xig.last_route


def hoisted(function: Any, x: Tensor) -> Tensor:
    """The attributions of a function that has to be hoisted."""
    found, route = attributed(function, x)
    assert route == "hoisted"
    return found


def captums(function: Any, x: Tensor) -> Tensor:
    return IntegratedGradients(function).attribute(x, target=1, n_steps=STEPS)


def left_to_captum(function: Any, x: Tensor) -> Tensor:
    """Captum's attributions of a function that has to be left to Captum."""
    found, route = attributed(function, x)
    expected = captums(function, x)
    assert route == "captum"
    assert gap((found,), (expected,)) <= CLOSE
    return expected


def refusal_of(function: Any, x: Tensor) -> str:
    """What is said against hoisting; empty where it has no proof to begin with."""
    call = Call((x,), (0,), 1, ())
    return fast_route(Request(function, call, Quadrature(STEPS, "gausslegendre"))).refusal


def assert_refused(net: Any, twin: Any, *words: str, x: Tensor) -> None:
    """The twin is hoisted; the tampered one is left to Captum, for a reason in these words."""
    clean = hoisted(twin, x)
    for _ in range(2):
        expected = left_to_captum(net, x)
    assert gap((clean,), (expected,)) > 1e-3, "the trap changes nothing"
    if words:
        refusal = refusal_of(net, x)
        assert any(word in refusal for word in words), refusal
