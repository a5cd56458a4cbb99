"""Weights drawn anew, in ``to_xdnn`` and by themselves."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.testing import assert_close

from captum_xdnn import HomogeneityWarning
from captum_xdnn.convert import kaiming_normal_, to_xdnn

from .networks import conv_net, images, trained

FAN_OUT: dict[str, tuple[nn.Module, int]] = {
    "linear": (nn.Linear(300, 200), 200),
    "bilinear": (nn.Bilinear(40, 30, 50), 50 * 30),
    "conv1d": (nn.Conv1d(50, 100, 5), 500),
    "conv2d": (nn.Conv2d(30, 50, 3), 450),
    "conv3d": (nn.Conv3d(10, 20, 3), 540),
    "grouped": (nn.Conv2d(40, 80, 3, groups=4), 20 * 9),
    "depthwise": (nn.Conv2d(400, 400, 3, groups=400), 9),
    "transposed": (nn.ConvTranspose2d(30, 50, 3), 50 * 9),
    "transposed in groups": (nn.ConvTranspose2d(40, 80, 3, groups=4), 20 * 9),
}


@pytest.mark.parametrize("name", FAN_OUT)
def test_the_variance_is_two_by_fan_out(name: str) -> None:
    layer, fan_out = FAN_OUT[name]
    kaiming_normal_(trained(layer))
    assert layer.weight.var().item() == pytest.approx(2 / fan_out, rel=0.1)
    assert abs(layer.weight.mean().item()) < 0.1 * (2 / fan_out) ** 0.5
    assert not layer.bias.any()
    assert layer.weight.requires_grad


RESET = [
    nn.BatchNorm2d(3),
    nn.LayerNorm(3),
    nn.GroupNorm(1, 3),
    nn.InstanceNorm1d(3, affine=True),
    nn.PReLU(),
    nn.Embedding(3, 4),
    nn.LSTM(3, 4),
    nn.MultiheadAttention(4, 2),
]


@pytest.mark.parametrize("module", RESET, ids=lambda m: type(m).__name__)
def test_other_modules_are_reset_as_torch_has_them(module: nn.Module) -> None:
    for parameter in module.parameters(recurse=False):
        nn.init.constant_(parameter, 7)
    kaiming_normal_(module)
    assert not any((p == 7).any() for p in module.parameters(recurse=False))


def test_containers_are_passed_over() -> None:
    network = conv_net()
    before = {name: p.clone() for name, p in network.named_parameters()}
    kaiming_normal_(network)
    assert_close(dict(network.named_parameters()), before, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm", "orthogonal"])
def test_parametrized_weights_are_drawn_through_what_computes_them(kind: str) -> None:
    layer = getattr(parametrizations, kind)(nn.Linear(200, 100)).eval()
    modes = [m.training for m in layer.modules()]
    before, parameter = layer.weight.detach().clone(), next(layer.parametrizations.parameters())
    torch.manual_seed(0)
    kaiming_normal_(layer)
    torch.manual_seed(0)
    drawn = torch.empty(100, 200).normal_(0, math.sqrt(2 / 100))
    weight = layer.weight.detach()
    assert (weight - before).abs().max() > 1e-3
    if kind == "weight_norm":
        assert_close(weight, drawn)
    elif kind == "spectral_norm":
        assert_close(weight, drawn / torch.linalg.matrix_norm(drawn, 2), rtol=0.05, atol=1e-4)
    else:
        assert_close(weight @ weight.T, torch.eye(100), rtol=0, atol=1e-4)
    assert next(layer.parametrizations.parameters()) is parameter
    assert [m.training for m in layer.modules()] == modes


class Doubled(nn.Module):
    def forward(self, value: Tensor) -> Tensor:
        return 2 * value

    def right_inverse(self, value: Tensor) -> Tensor:
        return value / 2


def test_a_bias_that_is_computed_is_zero_afterwards() -> None:
    layer = nn.Linear(4, 3)
    parametrize.register_parametrization(layer, "bias", Doubled())
    kaiming_normal_(layer)
    assert not layer.bias.any()


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_what_hooks_compute_is_refused(name: str) -> None:
    layer = nn.Linear(4, 3)
    prune.random_unstructured(layer, name, amount=2)
    before = {n: p.clone() for n, p in layer.named_parameters()}
    with pytest.raises(ValueError, match=f"the {name} of this Linear is computed in hooks"):
        kaiming_normal_(layer)
    assert_close(dict(layer.named_parameters()), before, rtol=0, atol=0)


def test_a_layer_without_outputs_has_nothing_to_draw() -> None:
    layer = nn.Linear(3, 1, bias=False)
    layer.weight = nn.Parameter(torch.empty(0, 3))
    kaiming_normal_(layer)
    assert layer.weight.shape == (0, 3)


@pytest.mark.parametrize("choice", ["uncentered", "fold", "strip"])
def test_a_conversion_draws_every_weight(choice: Any) -> None:
    network = conv_net()
    made, report = to_xdnn(network, inputs=images(), batch_norm=choice, init=kaiming_normal_)
    assert report.homogeneous
    for name, value in made.state_dict().items():
        if "running_mean_square" in name or name in ("1.weight", "4.weight"):
            assert value.eq(1).all()
        elif "num_batches" not in name:
            assert not value.eq(network.state_dict()[name]).any()


def test_a_network_with_norms_of_every_kind_and_attention_is_drawn() -> None:
    network = nn.ModuleList(
        [
            nn.LayerNorm(4),
            nn.GroupNorm(1, 4),
            nn.InstanceNorm1d(4, affine=True),
            nn.MultiheadAttention(4, 2, add_bias_kv=True),
            nn.GRU(4, 4),
            nn.BatchNorm1d(4, track_running_stats=False),
            nn.TransformerEncoderLayer(4, 2, 8),
        ]
    )
    with pytest.warns(HomogeneityWarning):
        to_xdnn(network, init=kaiming_normal_)


def test_init_is_called_once_with_each_module_of_the_result() -> None:
    seen: list[nn.Module] = []
    made, _ = to_xdnn(conv_net(), inputs=images(), batch_norm="strip", init=seen.append)
    assert seen == list(made.modules())
