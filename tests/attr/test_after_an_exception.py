"""A call that raises keeps nothing: no circle holds the model until the garbage is collected."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from captum_xdnn import (
    XIntegratedGradients,
    XInternalInfluence,
    XLayerConductance,
    XNeuronIntegratedGradients,
    certify,
)

CALLS: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "integrated gradients": lambda net, x: XIntegratedGradients(net).attribute(x, target=1),
    "in parts": lambda net, x: XIntegratedGradients(net).attribute(
        x, target=1, internal_batch_size=1
    ),
    "a single pass": lambda net, x: XIntegratedGradients(net, strategy="single_pass").attribute(
        x, target=1
    ),
    "trained": lambda net, x: XIntegratedGradients(net).attribute(x, target=1, create_graph=True),
    "to a tolerance": lambda net, x: XIntegratedGradients(net).attribute(
        x, target=1, tolerance=1e-3
    ),
    "influence": lambda net, x: XInternalInfluence(net, net[0]).attribute(x, target=1),
    "conductance": lambda net, x: XLayerConductance(net, net[0]).attribute(x, target=1),
    "of a neuron": lambda net, x: XNeuronIntegratedGradients(net, net[0]).attribute(x, 1),
    "certify": lambda net, x: certify(net, x),
}


class Failing(nn.Module):
    """Raises from a certain call on, in a certain way."""

    def __init__(self, kind: str, first: int) -> None:
        super().__init__()
        self.kind, self.left = kind, first

    def forward(self, x: Tensor) -> Tensor:
        self.left -= 1
        if self.left >= 0:
            return x
        if self.kind == "of torch":
            return x @ x.new_ones(7, 7)
        if self.kind == "behind another":
            try:
                return x @ x.new_ones(7, 7)
            except RuntimeError as error:
                raise ValueError from error
        if self.kind == "no memory":
            raise torch.OutOfMemoryError
        raise KeyError(self.kind)


@pytest.fixture(autouse=True)
def uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.filterwarnings("ignore:Internal batch size")
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", ["of torch", "behind another", "no memory", "one's own"])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("bias", [False, True])
def test_nothing_is_held(name: str, kind: str, first: int, bias: bool) -> None:
    net = nn.Sequential(nn.Linear(6, 5, bias=bias), nn.ReLU(), Failing(kind, first))
    x = torch.rand(3, 6)
    for _ in range(3):
        with suppress(Exception):
            CALLS[name](net, x)
        torch.utils.swap_tensors(net[0].weight, nn.Parameter(torch.rand(5, 6)))
    references = [weakref.ref(x), weakref.ref(net), weakref.ref(net[0].weight)]
    del net, x
    assert [reference() for reference in references] == [None] * 3


def failing_at(count: int, net: nn.Module) -> Callable[[Tensor], Tensor]:
    calls = itertools.count()

    def fails(x: Tensor) -> Tensor:
        if next(calls) == count:
            raise KeyError
        y: Tensor = net(x)
        return y

    return fails


@pytest.mark.usefixtures("always_hoisted")
def test_the_error_of_a_function_that_was_well_shows_where_it_was_raised() -> None:
    net = nn.Sequential(nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Softmax(-1))
    with pytest.raises(KeyError) as raised:  # in the second run, which keeps what the head takes
        XIntegratedGradients(failing_at(1, net)).attribute(torch.rand(3, 6), target=1)
    assert raised.traceback[-1].name == "fails"


def test_a_function_that_fails_in_the_middle_of_the_ray_is_captums() -> None:
    net, x = nn.Sequential(nn.Linear(6, 5, bias=False), nn.ReLU()), torch.rand(3, 6)
    explainer = XIntegratedGradients(failing_at(1, net))
    ours = explainer.attribute(x, target=1)
    assert explainer.last_route == "captum"
    assert torch.equal(ours, IntegratedGradients(net).attribute(x, target=1))
