"""Functions that are refused whenever they are looked at: calls of ever new forms are not all watched and proved."""

from __future__ import annotations

from typing import Any

import captum.attr
import pytest
import torch
from torch import Tensor, nn

from captum_xdnn import NotHomogeneousError, XIntegratedGradients
from captum_xdnn.routes.looks import FIRST, FREE, SHARE, Looks


class Bent(nn.Module):
    """Takes texts of any length, and bends what it takes as often as it is told."""

    def __init__(self, times: int = 30, bend: Any = torch.tanh) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(3, 5).double(), nn.Linear(5, 2).double()
        self.times, self.bend = times, bend

    def forward(self, x: Tensor) -> Tensor:
        z = self.first(x)
        for _ in range(self.times):
            z = self.bend(z + 0.1)
        return self.last(z).mean(1)


def texts(length: int) -> Tensor:
    generator = torch.Generator().manual_seed(length)
    return torch.randn(2, length, 3, generator=generator, dtype=torch.float64)


def attribute(method: Any, x: Tensor) -> Tensor:
    found: Tensor = method.attribute(x, target=1, n_steps=8)
    return found


def test_few_of_many_lengths_are_looked_at(looks: list[int]) -> None:
    net = Bent()
    xig, ig = XIntegratedGradients(net), captum.attr.IntegratedGradients(net)
    for length in range(10, 50):
        torch.testing.assert_close(
            attribute(xig, texts(length)), attribute(ig, texts(length)), rtol=0, atol=0
        )
        assert xig.last_route == "captum"
        assert "NOT CERTIFIED" in str(xig.certificate)
    assert len(looks) <= 10  # the first, those twice as large, and what their share allows


def test_a_large_call_is_looked_at(looks: list[int]) -> None:
    """Its passes may have to be divided."""
    xig = XIntegratedGradients(Bent())
    for length in (*range(10, 20), 400):
        attribute(xig, texts(length))
    assert looks[-1] == texts(400).numel()


def test_another_mode_is_looked_at(looks: list[int]) -> None:
    net = Bent()
    xig = XIntegratedGradients(net)
    for length in range(10, 20):
        attribute(xig, texts(length))
    net.eval()
    attribute(xig, texts(20))
    assert looks[-1] == texts(20).numel()


def test_a_function_that_is_fast_is_looked_at_in_every_form(looks: list[int]) -> None:
    net = Bent(times=2, bend=lambda z: z - 0.1)  # affine
    xig = XIntegratedGradients(net)
    for length in range(10, 30):
        attribute(xig, texts(length))
        assert xig.last_route == "single_pass"
    assert len(looks) == 20


def test_the_strict_strategy_looks_at_every_call(looks: list[int]) -> None:
    xig = XIntegratedGradients(Bent(), strategy="single_pass")
    for length in range(10, 15):
        with pytest.raises(NotHomogeneousError, match="NOT CERTIFIED"):
            attribute(xig, texts(length))
    assert len(looks) == 5


def test_calls_that_raise_are_no_looks(looks: list[int]) -> None:
    xig = XIntegratedGradients(Bent(times=2, bend=lambda z: z - 0.1))
    for length in range(4, 10):
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            xig.attribute(torch.rand(2, 3, length, dtype=torch.float64), target=1)
    attribute(xig, texts(5))
    assert xig.last_route == "single_pass"
    assert len(looks) == 7


def test_what_looks_may_cost() -> None:
    looks, mode = Looks(), object()
    for _ in range(FIRST):
        assert looks.known(10, mode) is None
        looks.note("refused", 1.0, 10, mode)
    assert looks.known(10, mode) == looks.known(20, mode) == "refused"
    assert looks.known(21, mode) is looks.known(10, object()) is None
    looks.took((FIRST + 1 - FREE) / SHARE - 1)
    assert looks.known(10, mode) == "refused"
    looks.took(1)
    assert looks.known(10, mode) is None
