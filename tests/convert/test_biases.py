"""Biases are removed from every layer of torch that has one, and from no other."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import HomogeneityWarning
from captum_xdnn.convert import Change, to_xdnn

from .networks import LAYERS, rows, trained

NORMS = {
    "LayerNorm": (nn.LayerNorm(4), (4,)),
    "GroupNorm": (nn.GroupNorm(2, 4), (4, 3)),
    "InstanceNorm1d": (nn.InstanceNorm1d(4, affine=True), (4, 3)),
    "InstanceNorm2d": (nn.InstanceNorm2d(4, affine=True), (4, 3, 3)),
    "InstanceNorm3d": (nn.InstanceNorm3d(4, affine=True), (4, 3, 3, 3)),
}
RECURRENT = {
    "LSTM": nn.LSTM(4, 3, batch_first=True),
    "GRU": nn.GRU(4, 3, batch_first=True),
    "RNN": nn.RNN(4, 3, batch_first=True),
    "LSTMCell": nn.LSTMCell(4, 3),
    "GRUCell": nn.GRUCell(4, 3),
    "RNNCell": nn.RNNCell(4, 3),
}


def _without_bias(layer: nn.Module, x: Tensor) -> Tensor:
    layer = copy.deepcopy(layer)
    assert isinstance(layer.bias, Tensor)
    nn.init.zeros_(layer.bias)
    return layer(x)


@pytest.mark.parametrize("name", LAYERS)
def test_linear_layers(name: str) -> None:
    layer, shape = LAYERS[name]
    x = torch.randn(2, *shape)
    converted, report = to_xdnn(trained(copy.deepcopy(layer)), inputs=x)
    assert converted.bias is None
    assert "bias=False" in repr(converted)
    assert list(converted.state_dict()) == ["weight"]
    assert_close(converted(x), _without_bias(layer, x))
    assert report.changes == (Change("", name, "bias removed"),)
    assert report.kept == ()
    assert report.certificate is not None
    assert report.certificate.degree == 1


@pytest.mark.parametrize("name", NORMS)
def test_norms_lose_their_biases_and_still_stand_in_the_way(name: str) -> None:
    norm, shape = NORMS[name]
    x = torch.randn(2, *shape)
    with pytest.warns(HomogeneityWarning, match="statistics of the input"):
        converted, report = to_xdnn(trained(copy.deepcopy(norm)), inputs=x)
    assert converted.bias is None
    assert list(converted.state_dict()) == ["weight"]
    assert_close(converted(x), _without_bias(norm, x))
    assert report.changes == (Change("", name, "bias removed"),)
    assert report.certificate is not None
    assert {b.module_type for b in report.certificate.blockers} == {name}


class Product(nn.Module):
    """Degree 2 in the input."""

    def __init__(self) -> None:
        super().__init__()
        self.bilinear = nn.Bilinear(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.bilinear(x, x)


def test_bilinear_layers_give_degree_two() -> None:
    converted, report = to_xdnn(Product(), inputs=rows())
    assert converted.bilinear.bias is None
    assert report.changes == (Change("bilinear", "Bilinear", "bias removed"),)
    assert report.homogeneous
    assert report.certificate is not None
    assert report.certificate.degree == 2


class Attention(nn.Module):
    def __init__(self, **options: object) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True, **options)

    def forward(self, x: Tensor) -> Tensor:
        keys, values = x[..., : self.attention.kdim], x[..., : self.attention.vdim]
        return self.attention(x, keys, values)[0]


@pytest.mark.parametrize("options", [{}, {"add_bias_kv": True}, {"kdim": 3, "vdim": 2}])
def test_attention(options: dict[str, object]) -> None:
    network, x = Attention(**options), torch.randn(2, 3, 4)
    with pytest.warns(HomogeneityWarning, match="softmax compares exponentials"):
        converted, report = to_xdnn(network, inputs=x)
    names = "in_proj_bias, bias_k, bias_v" if "add_bias_kv" in options else "in_proj_bias"
    assert report.changes == (
        Change("attention", "MultiheadAttention", f"{names} removed"),
        Change("attention.out_proj", "NonDynamicallyQuantizableLinear", "bias removed"),
    )
    assert not [n for n, _ in converted.named_parameters() if "bias" in n]
    for training in (True, False):
        with torch.no_grad():
            assert converted.train(training)(x).isfinite().all()
    assert not converted(0 * x).any()


def test_a_transformer_layer_takes_no_fast_path_around_its_new_activation() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, activation=nn.GELU()).eval()
    x = torch.randn(2, 3, 4)
    with pytest.warns(HomogeneityWarning):
        converted, _ = to_xdnn(layer, inputs=x)
    assert isinstance(converted.activation, nn.ReLU)
    with torch.no_grad():
        fast = converted(x)
    assert_close(fast, converted(x).detach())


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers_are_named_and_left(name: str) -> None:
    network = nn.ModuleDict({"recurrent": copy.deepcopy(RECURRENT[name])})
    before = copy.deepcopy(network.state_dict())
    with pytest.warns(HomogeneityWarning):
        converted, report = to_xdnn(network)
    assert report.changes == ()
    (kept,) = report.kept
    assert (kept.module, kept.module_type) == ("recurrent", name)
    assert "recurrent layers cannot be converted" in kept.what
    assert f"recurrent ({name}): {kept.what}" == str(kept)
    assert_close(dict(converted.state_dict()), dict(before), rtol=0, atol=0)


class LastStep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(4, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.recurrent(x)[0][:, -1]


def test_the_warning_names_a_recurrent_layer() -> None:
    with pytest.warns(HomogeneityWarning, match=r"first: recurrent \(GRU\)"):
        _, report = to_xdnn(LastStep(), inputs=torch.randn(2, 3, 4))
    assert "1 module left in the way" in str(report)


class OwnBias(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(3, 4)
        self.bias = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.bias) * self.embedding.weight.sum()


def test_parameters_of_other_modules_are_left() -> None:
    network = OwnBias()
    with pytest.warns(HomogeneityWarning, match="something adds a constant"):
        converted, report = to_xdnn(network, inputs=rows())
    assert report.changes == ()
    assert_close(converted.bias, network.bias)
