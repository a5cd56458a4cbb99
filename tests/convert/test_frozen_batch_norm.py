"""Torchvision's batch norm of detection models: a factor that is not trained."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from captum_xdnn.convert import Change, to_xdnn
from captum_xdnn.nn import ChannelScale

ops = pytest.importorskip("torchvision").ops


@pytest.mark.parametrize("choice", ["uncentered", "fold"])
def test_it_becomes_its_slope(choice: Any) -> None:
    norm = ops.FrozenBatchNorm2d(3)
    for buffer in norm.buffers():
        nn.init.uniform_(buffer, 0.5, 2.0)
    network = nn.Sequential(nn.Conv2d(2, 3, 1), norm, nn.ReLU()).double().eval()
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64)
    made, report = to_xdnn(network, inputs=x, batch_norm=choice)
    nn.init.zeros_(network[0].bias)
    slope = network[:2](x) - network[:2](0 * x)
    assert_close(made[:2](x), slope, rtol=1e-10, atol=1e-10)
    assert isinstance(made[1], ChannelScale)
    assert not made[1].weight.requires_grad
    what = "became a factor for each channel (ChannelScale)"
    assert report.changes[1] == Change("1", "FrozenBatchNorm2d", what)
    assert report.homogeneous


def test_it_is_stripped() -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 1), ops.FrozenBatchNorm2d(3))
    made, report = to_xdnn(network, inputs=torch.zeros(2, 2, 4, 4), batch_norm="strip")
    assert isinstance(made[1], nn.Identity)
    assert report.changes[1] == Change("1", "FrozenBatchNorm2d", "removed")
