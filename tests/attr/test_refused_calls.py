"""Calls that are refused again and again run Captum's passes and seldom another one."""

from __future__ import annotations

import outside
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients

CALLS = 48


class Counting(nn.Module):
    """Refused while it has a bend that is not homogeneous."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 3, bias=False).double()
        self.bent = True

    def forward(self, x: Tensor) -> Tensor:
        outside.seen.append(len(x))
        if self.bent:
            x = x.tanh() + 0 * torch.rand_like(x)  # random numbers: nothing is hoisted
        return torch.as_tensor(self.layer(x))


def test_few_calls_are_looked_at() -> None:
    net = Counting()
    xig, captum = XIntegratedGradients(net), IntegratedGradients(net)
    x = torch.rand(2, 4, dtype=torch.float64)
    outside.seen.clear()
    for _ in range(CALLS):
        torch.testing.assert_close(
            xig.attribute(x, target=0), captum.attribute(x, target=0), rtol=0, atol=0
        )
        assert xig.last_route == "captum"
        assert xig.certificate is not None
    assert 2 * CALLS < len(outside.seen) <= 2 * CALLS + 10


def test_a_function_that_has_become_provable_is_found() -> None:
    net = Counting()
    xig = XIntegratedGradients(net)
    x = torch.rand(2, 4, dtype=torch.float64)
    for _ in range(20):
        xig.attribute(x, target=0)
    net.bent = False
    routes = []
    for _ in range(16):
        xig.attribute(x, target=0)
        routes.append(xig.last_route)
    assert routes[-1] == "single_pass"
    strict = XIntegratedGradients(net, strategy="single_pass")
    strict.attribute(x, target=0)
    assert strict.last_route == "single_pass"


def test_the_strict_strategy_looks_at_every_call() -> None:
    net = Counting()
    x = torch.rand(2, 4, dtype=torch.float64)
    for _ in range(20):
        XIntegratedGradients(net).attribute(x, target=0)
    net.bent = False
    strict = XIntegratedGradients(net, strategy="single_pass")
    strict.attribute(x, target=0)
    assert strict.last_route == "single_pass"
