"""A copy leaves the model bit for bit as it was; in place it is the model that changes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from captum_xdnn import HomogeneityWarning
from captum_xdnn.convert import kaiming_normal_, to_xdnn

from .networks import conv_net, images
from .state_of import state_of

OPTIONS: dict[str, dict[str, Any]] = {
    "uncentered": {},
    "fold": {"batch_norm": "fold"},
    "strip": {"batch_norm": "strip"},
    "init": {"init": kaiming_normal_, "batch_norm": "strip"},
}


def _network() -> nn.Sequential:
    network = conv_net()
    network.append(nn.Softmax(-1))
    network[1].eval()
    network[4].weight.requires_grad_(False)
    network[0].register_forward_hook(lambda *_: None)
    network[2].register_forward_pre_hook(lambda *_: None)
    return network


@pytest.mark.parametrize("name", OPTIONS)
def test_a_copy_leaves_the_model_as_it_was(name: str) -> None:
    network = _network()
    before, state = state_of(network), copy.deepcopy(network.state_dict())
    made, _ = to_xdnn(network, inputs=images(), **OPTIONS[name])
    assert state_of(network) == before
    assert_close(dict(network.state_dict()), dict(state), rtol=0, atol=0)
    assert not {id(m) for m in made.modules()} & {id(m) for m in network.modules()}
    shared = {t.data_ptr() for t in made.state_dict().values()}
    assert not shared & {t.data_ptr() for t in network.state_dict().values()}


@pytest.mark.parametrize("name", ["uncentered", "fold", "init"])
def test_in_place_gives_what_a_copy_gives(name: str) -> None:
    network = _network()
    torch.manual_seed(1)
    made, report = to_xdnn(network, inputs=images(), **OPTIONS[name])
    torch.manual_seed(1)
    same, same_report = to_xdnn(network, inputs=images(), inplace=True, **OPTIONS[name])
    assert same is network
    assert repr(same) == repr(made)
    assert str(same_report) == str(report)
    assert_close(dict(same.state_dict()), dict(made.state_dict()), rtol=0, atol=0)
    x = images()
    assert_close(same.eval()(x), made.eval()(x), rtol=0, atol=0)


def test_what_is_not_changed_stays_the_same_object_in_place() -> None:
    network = _network()
    weights = {n: p for n, p in network.named_parameters() if n in ("0.weight", "8.weight")}
    layers = [network[0], network[6], network[8]]
    to_xdnn(network, inputs=images(), inplace=True)
    assert [network[0], network[6], network[8]] == layers
    assert all(dict(network.named_parameters())[n] is p for n, p in weights.items())


def test_the_inputs_are_not_written_to() -> None:
    x = torch.randn(3, 4)
    before = x.clone()
    network = nn.Sequential(nn.ReLU(inplace=True), nn.LazyLinear(3), nn.Softmax(-1))
    with pytest.warns(HomogeneityWarning, match="in-place"):  # nor can it be differentiated
        to_xdnn(network, inputs=x)
    assert_close(x, before, rtol=0, atol=0)


def test_no_gradient_is_left_behind() -> None:
    network, x = _network(), images().requires_grad_()
    made, _ = to_xdnn(network, inputs=x, batch_norm="fold")
    assert x.grad is None
    assert all(p.grad is None for p in (*network.parameters(), *made.parameters()))
    assert all(p.is_leaf for p in made.parameters())
