"""Batch norm folded into the layer before (the network without shifts, in less work), or left out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from captum_xdnn.convert import Change, to_xdnn
from captum_xdnn.nn import ChannelScale

from .networks import Block, conv_net, images, trained
from .slope_only import slope_only

PAIRS: dict[str, tuple[nn.Module, nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(4, 6), nn.BatchNorm1d(6), (4,)),
    "conv1d": (nn.Conv1d(2, 6, 2), nn.BatchNorm1d(6), (2, 5)),
    "conv2d": (nn.Conv2d(2, 6, 2), nn.BatchNorm2d(6), (2, 5, 4)),
    "conv3d": (nn.Conv3d(2, 6, 2), nn.BatchNorm3d(6), (2, 3, 4, 3)),
    "strided": (
        nn.Conv2d(2, 6, 3, stride=2, padding=1, dilation=2, padding_mode="reflect"),
        nn.BatchNorm2d(6),
        (2, 9, 9),
    ),
    "grouped": (nn.Conv2d(4, 6, 2, groups=2), nn.BatchNorm2d(6), (4, 5, 5)),
    "depthwise": (nn.Conv2d(3, 6, 2, groups=3), nn.BatchNorm2d(6), (3, 5, 5)),
    "transposed2d": (nn.ConvTranspose2d(2, 6, 2, stride=2), nn.BatchNorm2d(6), (2, 4, 4)),
    "transposed3d": (nn.ConvTranspose3d(2, 6, 2), nn.BatchNorm3d(6), (2, 3, 3, 3)),
    "no bias": (nn.Conv2d(2, 6, 2, bias=False), nn.BatchNorm2d(6), (2, 5, 4)),
    "no factors": (nn.Conv2d(2, 6, 2), nn.BatchNorm2d(6, affine=False), (2, 5, 4)),
}


@pytest.mark.parametrize(("name", "examples"), [*((name, 3) for name in PAIRS), ("conv2d", 1)])
def test_equal_to_the_network_without_shifts(name: str, examples: int) -> None:
    layer, norm, shape = PAIRS[name]
    network = trained(nn.Sequential(layer, norm, nn.ReLU())).double().eval()
    x = torch.randn(examples, *shape, dtype=torch.float64)
    folded, report = to_xdnn(network, inputs=x, batch_norm="fold")
    assert_close(folded(x), slope_only(network)(x), rtol=1e-10, atol=1e-10)
    assert [type(m) for m in folded] == [type(layer), nn.Identity, nn.ReLU]
    assert report.changes[-1].what == "folded into the layer before"
    assert folded(x).abs().max() > 1e-3
    assert report.homogeneous


def test_a_grouped_transposed_convolution_gets_factors_of_its_own() -> None:
    layers = nn.ConvTranspose2d(4, 6, 2, groups=2), nn.BatchNorm2d(6)
    network = trained(nn.Sequential(*layers)).double().eval()
    x = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    folded, report = to_xdnn(network, inputs=x, batch_norm="fold")
    assert isinstance(folded[1], ChannelScale)
    assert report.changes[-1].what == "became a factor for each channel (ChannelScale)"
    assert_close(folded(x), slope_only(network)(x), rtol=1e-10, atol=1e-10)


def test_pre_activation_blocks() -> None:
    network = trained(nn.Sequential(Block(), Block())).double().eval()
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    folded, report = to_xdnn(network, inputs=x, batch_norm="fold")
    assert_close(folded(x), slope_only(network)(x), rtol=1e-10, atol=1e-10)
    for block in folded:
        assert isinstance(block.norm1, ChannelScale)  # it reads a sum
        assert isinstance(block.norm2, nn.Identity)  # it reads the convolution before it
    assert report.homogeneous


def test_it_is_the_networks_own_jacobian_where_nothing_bends() -> None:
    network = trained(nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3))).double().eval()
    x = torch.randn(1, 2, 3, 3, dtype=torch.float64)
    folded, _ = to_xdnn(network, inputs=x, batch_norm="fold")
    assert_close(folded(x), network(x) - network(0 * x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_the_weights_keep_their_dtype(dtype: torch.dtype) -> None:
    network = trained(nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3))).to(dtype).eval()
    folded, _ = to_xdnn(network, inputs=torch.zeros(2, 2, 3, 3, dtype=dtype), batch_norm="fold")
    exact, _ = to_xdnn(
        network.double(), inputs=torch.zeros(2, 2, 3, 3, dtype=torch.float64), batch_norm="fold"
    )
    assert folded[0].weight.dtype == dtype
    eps = torch.finfo(dtype).eps
    assert_close(folded[0].weight.double(), exact[0].weight, rtol=eps, atol=1e-6)


def test_in_place_the_parameter_stays_the_same_object() -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3)).eval()
    network[0].weight.requires_grad_(False)
    weight, before = network[0].weight, network[0].weight.clone()
    trained(network)
    folded, _ = to_xdnn(network, inputs=torch.zeros(2, 2, 3, 3), batch_norm="fold", inplace=True)
    assert folded is network
    assert folded[0].weight is weight
    assert not weight.requires_grad
    assert not torch.equal(weight, before)


CHAINS: dict[str, Any] = {
    "norm of a norm": nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)),
    "dropout between": nn.Sequential(nn.Conv2d(2, 3, 1), nn.Dropout(), nn.BatchNorm2d(3)),
    "pooling between": nn.Sequential(nn.Conv2d(2, 3, 1), nn.AvgPool2d(2), nn.BatchNorm2d(3)),
    "norm first": nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 3, 1)),
}


@pytest.mark.parametrize("name", CHAINS)
def test_other_chains_have_the_numbers_of_the_network_without_shifts(name: str) -> None:
    network = trained(CHAINS[name]).double().eval()
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64)
    folded, report = to_xdnn(network, inputs=x, batch_norm="fold")
    assert_close(folded(x), slope_only(network)(x), rtol=1e-10, atol=1e-10)
    assert report.homogeneous


def test_a_network_that_decides_by_values_gets_factors() -> None:
    class Deciding(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) if x.sum() > 0 else super().forward(-x)

    network = trained(Deciding(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))).double().eval()
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64)
    with pytest.warns(UserWarning, match="Python reads a value that moves"):
        folded, _ = to_xdnn(network, inputs=x, batch_norm="fold")
    assert isinstance(folded[1], ChannelScale)
    assert_close(folded(x), slope_only(network)(x), rtol=1e-10, atol=1e-10)


def test_stripped_it_is_the_network_without_its_batch_norms_and_shifts() -> None:
    made, report = to_xdnn(conv_net(), inputs=images(), batch_norm="strip")
    assert [type(m).__name__ for m in made][:6] == [
        "Conv2d", "Identity", "ReLU", "Conv2d", "Identity", "ReLU",
    ]  # fmt: skip
    assert Change("1", "BatchNorm2d", "removed") in report.changes
    assert report.homogeneous


def test_a_block_is_stripped() -> None:
    network, x = trained(Block()).eval(), torch.randn(2, 4, 5, 5)
    made, _ = to_xdnn(network, inputs=x, batch_norm="strip")
    for convolution in (network.conv1, network.conv2):
        nn.init.zeros_(convolution.bias)
    assert_close(made(x), x + network.conv2(network.conv1(x.relu()).relu()))
