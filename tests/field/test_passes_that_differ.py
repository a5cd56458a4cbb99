"""Captum makes several passes with ``internal_batch_size``; a function may be another one in each of them."""

from __future__ import annotations

import random

import numpy
import pytest
import torch
from captum.attr import IntegratedGradients
from torch import nn

from captum_xdnn import XIntegratedGradients, XLayerIntegratedGradients

CALLS = 6
STEPS = 10
X = torch.ones(2, 4, dtype=torch.float64)
SEVERAL, ONE = 4, STEPS * len(X)
"""Bounds under which Captum makes five passes, and one."""


class Network(nn.Module):
    """Without a bias; what it does in each pass is given."""

    def __init__(self, act):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.act = nn.Linear(4, 2, bias=False).double(), act
        self.rng, self.dice = numpy.random.default_rng(0), random.Random(0)
        self.passes, self.state, self.log = 0, {"passes": 0}, []
        self.kept, self.array = [], numpy.zeros(1)
        self.begun = False

    def forward(self, x):
        return self.act(self, x)


def bent(net, x, late):
    return torch.tanh(net.layer(x)) if late else net.layer(x)


def held_generator(net, x):
    return net.layer(x * torch.from_numpy(net.rng.normal(size=4)))


def numpys_own(net, x):
    return net.layer(x * torch.from_numpy(numpy.random.normal(size=4)))


def pythons_own(net, x):
    return net.layer(x) * random.random()


def held_dice(net, x):
    return net.layer(x) * net.dice.random()


def dropped(net, x):
    return net.layer(x if net.rng.random() < 0.5 else x + x.flip(1))


def attribute(net, x):
    net.passes += 1
    return bent(net, x, net.passes % 7 > 4)


def entry(net, x):
    net.state["passes"] += 1
    return bent(net, x, net.state["passes"] % 7 > 4)


def numbers_logged(net, x):
    net.log.append(len(x))
    return bent(net, x, len(net.log) % 7 > 4)


def tensors_kept(net, x):
    net.kept.append(torch.ones(1))
    return bent(net, x, len(net.kept) % 7 > 4)


def array(net, x):
    net.array += 1
    return bent(net, x, net.array[0] % 7 > 4)


def cell():
    passes = 0

    def act(net, x):
        nonlocal passes
        passes += 1
        return bent(net, x, passes % 7 > 4)

    return act


DRAWING = (held_generator, numpys_own, pythons_own, held_dice, dropped)
COUNTING = (attribute, entry, numbers_logged, tensors_kept, array)


def run(kind, act, bound):
    """The attributions of some calls, with the route of each."""
    random.seed(1)
    numpy.random.seed(1)
    explainer, found = kind(Network(act)), []
    for _ in range(CALLS):
        given = explainer.attribute(X, target=1, n_steps=STEPS, internal_batch_size=bound)
        found.append((given, getattr(explainer, "last_route", "captum")))
    return found


def assert_the_same(ours, theirs):
    for (found, _), (expected, _) in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("act", [*DRAWING, *COUNTING], ids=lambda act: act.__name__)
def test_several_passes_are_captums(act):
    ours = run(XIntegratedGradients, act, SEVERAL)
    assert {route for _, route in ours} == {"captum"}
    assert_the_same(ours, run(IntegratedGradients, act, SEVERAL))


def test_several_passes_of_what_counts_in_a_closure_are_captums():
    ours = run(XIntegratedGradients, cell(), SEVERAL)
    assert_the_same(ours, run(IntegratedGradients, cell(), SEVERAL))


@pytest.mark.parametrize("act", DRAWING[:4], ids=lambda act: act.__name__)
def test_where_captum_makes_one_pass_one_draw_is_captums(act):
    ours = run(XIntegratedGradients, act, ONE)
    assert {route for _, route in ours[1:]} == {"single_pass"}
    assert_the_same(ours, run(IntegratedGradients, act, ONE))


def test_a_layer_of_what_draws():
    net = Network(held_generator)
    explainer = XLayerIntegratedGradients(net, net.layer)
    explainer.attribute(X, target=1, n_steps=STEPS, internal_batch_size=SEVERAL)
    assert explainer.last_route == "captum"


def begins(net, x):
    if not net.begun:
        net.begun, net.passes = True, 3
    return net.layer(x)


def says_its_length(net, x):
    net.passes = 1000 * len(x)  # another object each time
    return net.layer(x)


def replaces_what_it_keeps(net, x):
    net.state["last"] = net.layer(x).detach()
    return net.layer(x)


@pytest.mark.parametrize(
    "act", [begins, says_its_length, replaces_what_it_keeps], ids=lambda act: act.__name__
)
def test_what_is_the_same_after_each_pass_stays_fast(act):
    ours = run(XIntegratedGradients, act, SEVERAL)
    assert {route for _, route in ours[-2:]} == {"single_pass"}
    assert_the_same(ours, run(IntegratedGradients, act, SEVERAL))
