"""A loss on the outputs that the attributions were made from: the same step, with one pass less."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.testing import assert_close
from trained_networks import BENT, PIECEWISE_LINEAR, perceptron, rows

from captum_xdnn import XIntegratedGradients
from captum_xdnn.priors import gini_sparsity

NETWORKS = PIECEWISE_LINEAR | BENT


def gradients_of(loss: Tensor, net: nn.Module) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, list(net.parameters()))


def both_losses(net: nn.Module, x: Tensor, **arguments: Any) -> tuple[Tensor, Tensor]:
    """With a forward pass of its own, and on the outputs that are there."""
    labels = torch.arange(len(x)) % 3
    xig = XIntegratedGradients(net, strategy="single_pass")
    prior = gini_sparsity(xig.attribute(x, target=labels, create_graph=True, **arguments))
    own = cross_entropy(net(x), labels) + prior
    prior = gini_sparsity(xig.attribute(x, target=labels, create_graph=True, **arguments))
    assert xig.last_outputs is not None
    return own, cross_entropy(xig.last_outputs, labels) + prior


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradients_of_a_step_are_the_same(name: str) -> None:
    build, data = NETWORKS[name]
    net = build()
    own, shared = both_losses(net, data())
    assert_close(shared, own)
    assert_close(gradients_of(shared, net), gradients_of(own, net), rtol=1e-12, atol=1e-14)


def test_parts_of_a_batch_are_put_together() -> None:
    net, x = perceptron(), rows(7)

    def fail(_: Any, given: Any) -> None:  # memory runs out, and the call goes on in parts
        if given[0].requires_grad and len(given[0]) > 3:
            raise torch.OutOfMemoryError

    net.register_forward_pre_hook(fail)
    own, shared = both_losses(net, x, internal_batch_size=3)
    assert_close(gradients_of(shared, net), gradients_of(own, net), rtol=1e-12, atol=1e-14)


def test_the_network_runs_once() -> None:
    net, x, runs = perceptron(), rows(), []
    net.register_forward_hook(lambda *_: runs.append(1))
    xig = XIntegratedGradients(net, strategy="single_pass")
    xig.attribute(x, target=0, create_graph=True)  # traces
    runs.clear()
    xig.attribute(x, target=0, create_graph=True)
    assert xig.last_outputs is not None
    assert xig.last_outputs.requires_grad
    assert runs == [1]


def test_they_are_those_of_the_last_call_alone() -> None:
    net, x = perceptron(), rows()
    xig = XIntegratedGradients(net)
    assert xig.last_outputs is None
    with torch.no_grad():
        xig.attribute(x, target=0, create_graph=True)
    assert xig.last_outputs is not None
    assert xig.last_outputs.requires_grad
    xig.attribute(x, target=0)
    assert xig.last_outputs is not None
    assert not xig.last_outputs.requires_grad
    assert torch.equal(xig.last_outputs, net(x))
    xig.attribute(x, target=0, create_graph=True)
    with pytest.raises(AssertionError):
        xig.attribute([x], target=0, create_graph=True)
    assert xig.last_outputs is None
    xig.attribute(x, target=0, create_graph=True)
    xig.strategy = "captum"
    xig.attribute(x, target=0, n_steps=2, create_graph=True)
    assert xig.last_outputs is None


def test_the_other_routes_have_none() -> None:
    net, x = perceptron(bias=True), rows()
    xig = XIntegratedGradients(net)
    xig.attribute(x, target=0, n_steps=4, create_graph=True)
    assert xig.last_route != "single_pass"
    assert xig.last_outputs is None


@pytest.mark.parametrize("again", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy])
def test_copies_leave_them_behind(again: Callable[[Any], Any]) -> None:
    xig = XIntegratedGradients(perceptron())
    xig.attribute(rows(), target=0, create_graph=True)
    assert xig.last_outputs is not None
    assert again(xig).last_outputs is None
