"""Batch norm left out."""

from __future__ import annotations

import torch
from torch import nn
from torch.testing import assert_close

from captum_xdnn.convert import Change, to_xdnn

from .networks import Block, conv_net, images, trained


def test_the_network_without_its_batch_norms_and_shifts() -> None:
    made, report = to_xdnn(conv_net(), inputs=images(), batch_norm="strip")
    assert [type(m).__name__ for m in made][:6] == [
        "Conv2d", "Identity", "ReLU", "Conv2d", "Identity", "ReLU",
    ]  # fmt: skip
    assert Change("1", "BatchNorm2d", "removed") in report.changes
    assert report.homogeneous


def test_a_block() -> None:
    network, x = trained(Block()).eval(), torch.randn(2, 4, 5, 5)
    made, _ = to_xdnn(network, inputs=x, batch_norm="strip")
    for convolution in (network.conv1, network.conv2):
        nn.init.zeros_(convolution.bias)
    assert_close(made(x), x + network.conv2(network.conv1(x.relu()).relu()))
