"""time_interpret calls ``attribute.__wrapped__``, swaps modules, patches torch and subclasses IG."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients
from in_two_ways import in_two_ways, installed
from torch import Tensor, nn
from torch.testing import assert_close

attr = installed("tint.attr")

CLOSE = {"rtol": 1e-7, "atol": 1e-10}
TIMES = 5


class Series(nn.Module):
    """A causal convolution over the time, whose mean is classified; inputs of shape (B, T, 3)."""

    def __init__(self, *, softmax: bool) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(3, 8, 3, padding=2, bias=False)
        self.relu = nn.ReLU()
        self.head = nn.Linear(8, 4, bias=softmax)
        self.softmax = nn.Softmax(-1) if softmax else nn.Identity()
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        features = self.relu(self.convolution(x.transpose(1, 2))[..., : x.shape[1]])
        return self.softmax(self.head(features.mean(-1)))


ROUTES = {"single_pass": False, "hoisted": True}


def network(route: str) -> Series:
    return Series(softmax=ROUTES[route]).eval()


def series() -> Tensor:
    return torch.randn(4, TIMES, 3, dtype=torch.float64)


@pytest.mark.parametrize("more", [{"target": 1}, {"task": "multiclass"}], ids=["target", "task"])
@pytest.mark.parametrize("route", ROUTES)
def test_time_forward_tunnel(route: str, more: dict[str, Any]) -> None:
    """One explanation for each beginning of the series."""
    x, tunnel = series(), attr.TimeForwardTunnel(IntegratedGradients(network(route)))
    captums, ours, routes = in_two_ways(lambda: tunnel.attribute(x, **more))
    assert routes == Counter({route: TIMES})
    assert_close(ours, captums, **CLOSE)


@pytest.mark.parametrize("route", ROUTES)
def test_non_linearities_tunnel(route: str) -> None:
    """What is explained has another activation for the time of the call, then its own again."""
    x, method = series(), IntegratedGradients(network(route))
    tunnel = attr.NonLinearitiesTunnel(method)

    def call() -> list[Tensor]:
        plain = method.attribute(x, target=1)
        smooth = tunnel.attribute(x, target=1, to_replace=nn.ReLU(), replace_with=nn.Softplus())
        return [plain, smooth, method.attribute(x, target=1)]

    captums, ours, routes = in_two_ways(call)
    assert routes.total() == 3
    assert routes[route] >= 1
    assert_close(ours, captums, **CLOSE)
    assert not torch.allclose(ours[0], ours[1])
    assert_close(ours[0], ours[2], **CLOSE)


def test_a_subclass_with_an_integration_of_its_own() -> None:
    x, method = series(), attr.TemporalIntegratedGradients(network("single_pass"))
    captums, ours, routes = in_two_ways(lambda: method.attribute(x, target=1))
    assert routes == Counter()
    assert_close(ours, captums, rtol=0, atol=0)


def test_a_method_that_is_no_subclass() -> None:
    x, method = series(), attr.SequentialIntegratedGradients(network("single_pass"))
    captums, ours, routes = in_two_ways(lambda: method.attribute(x, target=1))
    assert routes == Counter()
    assert_close(ours, captums, rtol=0, atol=0)
