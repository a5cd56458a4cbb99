"""A converted network is explained in a single pass, to the numbers of Captum's integral."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import nn
from torch.testing import assert_close

from captum_xdnn import XIntegratedGradients
from captum_xdnn.convert import to_xdnn

from .networks import Block, conv_net, images, trained


@pytest.mark.parametrize("choice", ["uncentered", "fold", "strip"])
def test_a_single_pass_equals_captums_integral(choice: Any) -> None:
    network = conv_net(bias=True).append(nn.Softmax(-1)).eval()
    x = images()
    before = XIntegratedGradients(network)
    before.attribute(x, target=1)
    assert before.last_route != "single_pass"
    made, _ = to_xdnn(network, inputs=x, batch_norm=choice)
    xig = XIntegratedGradients(made, strategy="single_pass")
    ours, delta = xig.attribute(x, target=1, return_convergence_delta=True)
    assert xig.last_route == "single_pass"
    assert_close(ours, IntegratedGradients(made).attribute(x, target=1))
    assert_close(delta, torch.zeros_like(delta), rtol=0, atol=1e-12)
    assert ours.abs().max() > 1e-6


@pytest.mark.parametrize("choice", ["uncentered", "fold", "strip"])
def test_the_output_scales_with_the_input(choice: Any) -> None:
    network = trained(nn.Sequential(Block(2), nn.GELU(), Block(2))).double().eval()
    x = images()
    made, _ = to_xdnn(network, inputs=x, batch_norm=choice)
    for a in (0.0, 1e-3, 1e3):
        assert_close(made(a * x), a * made(x), rtol=1e-12, atol=0)
    assert (network(2 * x) - 2 * network(x)).abs().max() > 1e-2


def test_training_goes_on_and_the_certificate_holds() -> None:
    network, x = conv_net(), images(16)
    made, _ = to_xdnn(network, inputs=x)
    made.train()
    optimizer = torch.optim.SGD(made.parameters(), lr=0.05)
    labels = torch.arange(16) % 3
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(made(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert all(p.grad is not None for p in made.parameters())
    made.eval()
    xig = XIntegratedGradients(copy.deepcopy(made), strategy="single_pass")
    assert_close(xig.attribute(x, target=0), IntegratedGradients(made).attribute(x, target=0))
