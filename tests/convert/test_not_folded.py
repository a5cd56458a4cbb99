"""Layers whose weights something else reads are not multiplied: the norm becomes a factor."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.testing import assert_close

from captum_xdnn.convert import to_xdnn
from captum_xdnn.convert.batch_norms import can_take_a_factor
from captum_xdnn.nn import ChannelScale

from .networks import trained
from .slope_only import slope_only

X = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A layer and a norm, in the ways that subclasses use them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.other = nn.Linear(4, 4), nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)


class TwoReaders(Net):
    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        return y + self.norm(y)


class LayerTwice(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.norm(self.layer(x)))


class NormTwice(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.other(torch.relu(self.norm(self.layer(x)))))


class TwoNames(Net):
    def __init__(self) -> None:
        super().__init__()
        self.other = self.layer

    def forward(self, x: Tensor) -> Tensor:
        return self.other(torch.relu(self.norm(self.layer(x))))


class Tied(Net):
    def __init__(self) -> None:
        super().__init__()
        self.other.weight = self.layer.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.other(torch.relu(self.norm(self.layer(x))))


class TiedButIdle(Tied):
    """The other layer is used in training only."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.layer(x))
        return self.other(y) if self.training else y


class TiedByMemory(Net):
    """A copy of it is not: ``deepcopy`` gives each parameter memory of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.other.weight = nn.Parameter(self.layer.weight.detach().t())

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layer(x))


class TiedEmbedding(Net):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, 4)
        self.embedding.weight = self.layer.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layer(x))


class ReadInForward(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layer(x)) + nn.functional.linear(x, self.layer.weight)


class AnotherAxis(Net):
    """The norm scales dimension 1, the layer's outputs are dimension 2 - of the same size."""

    def forward(self, x: Tensor) -> Tensor:
        sequence = torch.stack([x, 2 * x, -x, x.abs()], 1)
        return self.norm(self.layer(sequence)).flatten(1)


class Parametrized(Net):
    def __init__(self) -> None:
        super().__init__()
        parametrizations.weight_norm(self.layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layer(x))


class Masked(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight.tril(), self.bias)


class OwnForward(Net):
    def __init__(self) -> None:
        super().__init__()
        self.layer = Masked(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layer(x))


class Hooked(Net):
    """A hook before the layer may compute its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.layer.register_forward_pre_hook(_unchanged)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layer(x))


def _unchanged(module: nn.Module, args: tuple[Any, ...]) -> None:
    return None


NETWORKS = (
    TwoReaders,
    LayerTwice,
    NormTwice,
    TwoNames,
    Tied,
    TiedButIdle,
    TiedEmbedding,
    ReadInForward,
    AnotherAxis,
    Parametrized,
    OwnForward,
    Hooked,
)


@pytest.mark.parametrize("build", NETWORKS)
def test_it_becomes_a_factor(build: type[Net]) -> None:
    network = trained(build()).double().eval()
    made, report = to_xdnn(network, inputs=X, batch_norm="fold")
    assert isinstance(made.norm, ChannelScale)
    assert_close(made.layer.weight, network.layer.weight, rtol=0, atol=0)
    assert_close(made(X), slope_only(network)(X), rtol=1e-10, atol=1e-10)
    assert report.homogeneous


def test_the_same_network_without_its_obstacle_is_folded() -> None:
    class Plain(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.other(torch.relu(self.norm(self.layer(x))))

    made, _ = to_xdnn(trained(Plain()).double(), inputs=X, batch_norm="fold")
    assert isinstance(made.norm, nn.Identity)


def test_a_pruned_layer_in_place() -> None:
    network = trained(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))).double().eval()
    expected = slope_only(network)
    for layer in (network[0], expected[0]):
        prune.l1_unstructured(layer, "weight", amount=0.5)
    made, report = to_xdnn(network, inputs=X, batch_norm="fold", inplace=True)
    assert report.homogeneous
    assert isinstance(made[1], ChannelScale)
    assert_close(made(X), expected(X), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("build", [Tied, TiedByMemory, TiedEmbedding])
def test_a_weight_that_another_layer_holds_takes_no_factor(build: type[Net]) -> None:
    network = build()
    assert not can_take_a_factor(network.layer, network)
    alone = copy.deepcopy(network.layer)
    assert can_take_a_factor(alone, alone)


def test_only_linear_layers_take_a_factor() -> None:
    assert not can_take_a_factor(nn.PReLU(), nn.PReLU())
    assert not can_take_a_factor(nn.Bilinear(2, 2, 2), nn.Bilinear(2, 2, 2))
