"""What is shared stays shared, and what is exchanged is exchanged wherever it stands."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import HomogeneityWarning
from captum_xdnn.convert import to_xdnn
from captum_xdnn.nn import ChannelScale, UncenteredBatchNorm1d

from .networks import rows


def test_a_module_in_two_places_stays_one() -> None:
    activation, linear, norm = nn.GELU(), nn.Linear(4, 4), nn.BatchNorm1d(4)
    parts = (linear, norm, activation)
    network = nn.Sequential(*parts, nn.Sequential(*parts)).eval()
    made, report = to_xdnn(network, inputs=rows())
    for place, kind in enumerate((nn.Linear, UncenteredBatchNorm1d, nn.ReLU)):
        assert made[place] is made[3][place]
        assert type(made[place]) is kind
    assert [c.module for c in report.changes] == ["0", "1", "2"]
    assert report.homogeneous


class Tied(nn.Module):
    """An autoencoder whose decoder has the encoder's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(4, 4), nn.Linear(4, 4)
        self.decoder.weight = self.encoder.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(torch.relu(self.encoder(x)))


@pytest.mark.parametrize("inplace", [True, False])
def test_tied_weights_stay_tied(inplace: bool) -> None:
    network = Tied()
    made, report = to_xdnn(network, inputs=rows(), inplace=inplace)
    assert made.decoder.weight is made.encoder.weight
    assert (made.encoder.weight is network.encoder.weight) is inplace
    assert report.homogeneous


EXCHANGED: dict[str, tuple[nn.Module, dict[str, Any], type[nn.Module]]] = {
    "activation": (nn.GELU(), {}, nn.ReLU),
    "uncentered": (nn.BatchNorm1d(4), {}, UncenteredBatchNorm1d),
    "fold": (nn.BatchNorm1d(4), {"batch_norm": "fold"}, ChannelScale),
    "strip": (nn.BatchNorm1d(4), {"batch_norm": "strip"}, nn.Identity),
    "softmax": (nn.Softmax(-1), {}, nn.Identity),
}


@pytest.mark.parametrize(
    ("name", "inplace"), [*((name, False) for name in EXCHANGED), ("activation", True)]
)
def test_a_network_that_is_exchanged_itself(name: str, inplace: bool) -> None:
    network, options, kind = EXCHANGED[name]
    made, report = to_xdnn(network, inputs=rows(), inplace=inplace, **options)
    assert type(made) is kind
    (change,) = report.changes
    assert (change.module, change.module_type) == ("", type(network).__name__)
    assert "(first: the model)" in str(report)


class Containers(nn.Module):
    """Modules under attributes, in lists and in dicts, and a place that is empty."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.GELU()])
        self.named = nn.ModuleDict({"norm": nn.BatchNorm1d(4), "act": nn.SiLU()})
        self.register_module("nothing", None)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (*self.layers, *self.named.values()):
            x = layer(x)
        return x


def test_containers() -> None:
    made, report = to_xdnn(Containers().eval(), inputs=rows())
    assert type(made.layers[1]) is type(made.named["act"]) is nn.ReLU
    assert type(made.named["norm"]) is UncenteredBatchNorm1d
    assert [c.module for c in report.changes] == ["layers.0", "layers.1", "named.norm", "named.act"]
    assert made.nothing is None
    assert report.homogeneous


def test_a_second_conversion_changes_nothing() -> None:
    once, _ = to_xdnn(Containers().eval(), inputs=rows())
    for choice in ("uncentered", "fold", "strip"):
        twice, report = to_xdnn(once, inputs=rows(), batch_norm=choice)
        assert report.changes == report.kept == ()
        assert repr(twice) == repr(once)
        assert_close(twice(rows(1)).shape, once(rows(1)).shape)
        assert_close(dict(twice.state_dict()), dict(once.state_dict()), rtol=0, atol=0)
        assert "0 modules changed" in str(report)


@pytest.mark.parametrize("choice", ["uncentered", "fold"])
def test_a_state_dict_loads_into_another_converted_copy(choice: str) -> None:
    first, second, x = Containers().eval(), Containers().eval(), rows()
    made, _ = to_xdnn(first, inputs=x, batch_norm=choice)
    other, _ = to_xdnn(second, inputs=x, batch_norm=choice)
    other.load_state_dict(made.state_dict())
    assert_close(other(x), made(x), rtol=0, atol=0)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.norm = nn.Linear(4, 3), nn.Linear(2, 3), nn.BatchNorm1d(3)

    def forward(self, x: Tensor, y: Tensor, scale: float, mask: Tensor) -> Tensor:
        return self.norm(self.first(x) + self.second(y)) * scale * mask


@pytest.mark.parametrize("choice", ["uncentered", "fold", "strip"])
def test_several_inputs_and_additional_arguments(choice: str) -> None:
    inputs = (rows(), torch.randn(3, 2))
    arguments = (0.5, torch.ones(3))
    made, report = to_xdnn(
        TwoInputs().eval(), inputs=inputs, additional_forward_args=arguments, batch_norm=choice
    )
    assert report.homogeneous
    assert not made(0 * inputs[0], 0 * inputs[1], *arguments).any()


def test_one_additional_argument() -> None:
    class Scaled(nn.Linear):
        def forward(self, x: Tensor, scale: float) -> Tensor:
            return super().forward(x) * scale

    _, report = to_xdnn(Scaled(4, 3), inputs=rows(), additional_forward_args=2.0)
    assert report.homogeneous


def test_without_inputs_everything_is_changed_but_nothing_certified() -> None:
    with pytest.warns(HomogeneityWarning, match="has not been certified: give inputs"):
        made, report = to_xdnn(Containers())
    assert len(report.changes) == 4
    assert report.certificate is None
    assert not report.homogeneous
    assert type(made.layers[1]) is nn.ReLU
