"""Remedies, followed to the letter: what a certificate says to do makes the certificate better."""

from __future__ import annotations

import re
from collections import OrderedDict, namedtuple
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients, XLayerIntegratedGradients, certify
from captum_xdnn.convert import to_xdnn
from captum_xdnn.homogeneity import Certificate
from captum_xdnn.nn import Homogenized

ROWS, SERIES = torch.rand(2, 8), torch.rand(2, 5, 8)
IDS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
HOMOGENIZED = "captum_xdnn.nn.Homogenized(model)"


def linear() -> nn.Module:
    return nn.Linear(8, 8, bias=False)


class Attention(nn.Module):
    """Written out, by torch's function, or as a module."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.out = kind, linear()
        self.whole = nn.MultiheadAttention(8, 2, batch_first=True, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "module":
            return self.out(self.whole(x, x, x)[0].mean(1))
        if self.kind == "function":
            return self.out(nn.functional.scaled_dot_product_attention(x, x, x).mean(1))
        return self.out((torch.softmax(x @ x.transpose(1, 2), -1) @ x).mean(1))


class Series(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.out = layer, nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layer(x)[0][:, -1])


def remedies(certificate: Certificate) -> list[str]:
    return [blocker.remedy for blocker in certificate.blockers]


INSIDE = {
    "attention written out": (Attention("written out"), SERIES),
    "attention by torch's function": (Attention("function"), SERIES),
    "attention as a module": (Attention("module").eval(), SERIES),
    "LSTM": (Series(nn.LSTM(8, 6, batch_first=True)), SERIES),
    "GRU": (Series(nn.GRU(8, 6, batch_first=True)), SERIES),
    "RNN with tanh": (Series(nn.RNN(8, 6, batch_first=True)), SERIES),
    "layer norm": (nn.Sequential(linear(), nn.LayerNorm(8), nn.ReLU(), linear()), ROWS),
    "group norm": (nn.Sequential(linear(), nn.GroupNorm(2, 8), nn.ReLU(), linear()), ROWS),
    "tanh": (nn.Sequential(linear(), nn.Tanh(), linear()), ROWS),
    "a gate": (nn.Sequential(linear(), nn.Sigmoid(), linear(), nn.ReLU()), ROWS),
    "instance norm": (nn.InstanceNorm1d(5), SERIES),
}


@pytest.mark.parametrize("name", INSIDE)
def test_what_a_network_cannot_do_without(name: str) -> None:
    model, inputs = INSIDE[name]
    found = certify(model, inputs)
    assert not found.homogeneous
    assert any(HOMOGENIZED in remedy for remedy in remedies(found))
    assert not any("logits" in remedy or "in front" in remedy for remedy in remedies(found))
    assert certify(Homogenized(model), inputs).homogeneous


def test_a_recurrent_layer_of_relus() -> None:
    (remedy,) = remedies(certify(Series(nn.LSTM(8, 6, batch_first=True)), SERIES))
    assert "nn.RNN with nonlinearity='relu' and bias=False" in remedy
    layer = nn.RNN(8, 6, nonlinearity="relu", bias=False, batch_first=True)
    assert certify(Series(layer), SERIES).homogeneous


@pytest.mark.parametrize(
    "head", [nn.Softmax(-1), nn.LogSoftmax(-1), nn.Sigmoid(), nn.Tanh(), nn.LogSigmoid()]
)
def test_the_last_operation_is_left_out_of_what_is_explained(head: nn.Module) -> None:
    model = nn.Sequential(linear(), nn.ReLU(), linear(), head, nn.Flatten())
    found = certify(model, ROWS)
    (remedy,) = remedies(found)
    assert re.match(r"explain the (logits|value in front of it)", remedy)
    assert certify(model[:-2], ROWS).homogeneous


@pytest.mark.parametrize(
    "layer", [nn.GELU(), nn.SiLU(), nn.ELU(), nn.Linear(8, 8), nn.BatchNorm1d(8, eps=1)]
)
def test_what_is_to_be_retrained_is_converted(layer: nn.Module) -> None:
    if isinstance(layer, nn.BatchNorm1d):
        nn.init.ones_(layer.bias)
    model = nn.Sequential(linear(), layer, nn.ReLU(), linear()).eval()
    found = certify(model, ROWS)
    assert not found.homogeneous
    assert "captum_xdnn.convert.to_xdnn(model)" in str(found)
    converted, _ = to_xdnn(model, inputs=ROWS)
    assert certify(converted, ROWS).homogeneous


@pytest.mark.parametrize("layer", [nn.Dropout(), nn.BatchNorm1d(8), nn.RReLU(), nn.AlphaDropout()])
def test_training_mode(layer: nn.Module) -> None:
    model = nn.Sequential(linear(), layer, linear())
    assert remedies(certify(model.train(), ROWS))[0].startswith("call model.eval()")
    assert certify(model.eval(), ROWS).homogeneous


class Words(nn.Module):
    """A classifier of token ids."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({"word": nn.Embedding(20, 8, **options)})
        self.more = nn.ModuleList([linear(), nn.Linear(8, 3, bias=False)])

    def forward(self, ids: Tensor) -> Tensor:
        hidden = torch.relu(self.more[0](self.parts["word"](ids)))
        return self.more[1](hidden.sum(1))


def explained(remedy: str, **names: Any) -> XLayerIntegratedGradients:
    code = re.search(r"XLayerIntegratedGradients\([^()]*\)", remedy)
    assert code is not None, remedy
    return eval(code[0], {"XLayerIntegratedGradients": XLayerIntegratedGradients, **names})


class Recurrent(Words):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(8, 8, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        return self.more[1](self.layer(self.parts["word"](ids))[0][:, -1])


@pytest.mark.parametrize(
    "model",
    [
        Words(),
        Recurrent(),
        nn.Sequential(nn.EmbeddingBag(20, 8), nn.ReLU(), linear()),
        nn.Sequential(nn.Embedding(20, 8), nn.Flatten(), nn.Linear(40, 3)),
    ],
)
def test_token_ids(model: nn.Module) -> None:
    (remedy,) = remedies(certify(model, IDS))
    method = explained(remedy, model=model)
    assert method.attribute(IDS, target=0).shape[0] == len(IDS)
    assert method.certificate is not None


def test_token_ids_of_a_function() -> None:
    model = Words()
    (remedy,) = remedies(certify(lambda ids: model(ids), IDS))
    function = model.forward
    assert explained(remedy, model=model, function=function).layer is model.parts["word"]


def test_reference_tokens_whose_embedding_is_zero() -> None:
    model = Words(padding_idx=0)
    method = explained(remedies(certify(model, IDS))[0], model=model)
    method.attribute(IDS, baselines=torch.ones_like(IDS), target=0)
    assert method.certificate is not None
    said = [b.remedy for b in method.certificate.blockers]
    assert said == ["choose a baseline at which it is zero, or a layer that gives zero there"]
    method.attribute(IDS, baselines=torch.zeros_like(IDS), target=0)
    assert method.last_route == "single_pass"


def test_truth_values_and_whole_numbers_that_are_no_indices() -> None:
    model = nn.Sequential(linear(), nn.ReLU())
    (remedy,) = remedies(certify(model, torch.ones(2, 8, dtype=torch.bool)))
    assert "inputs.float()" in remedy
    for dtype in (torch.int64, torch.uint8, torch.float32):
        assert certify(model, torch.ones(2, 8, dtype=dtype)).homogeneous


Named = namedtuple("Named", "hidden logits")
RETURNED = {
    "a dictionary": lambda y: {"mask": y > 0, "scores": y},
    "one with logits": lambda y: {"hidden": torch.exp(y), "logits": y},
    "an ordered one": lambda y: OrderedDict(logits=y),
    "a tuple": lambda y: (y,),
    "several": lambda y: (y, torch.exp(y)),
    "a list": lambda y: [y],
    "a named tuple": lambda y: Named(torch.exp(y), y),
    "an object": lambda y: SimpleNamespace(loss=None, logits=y),
}


@pytest.mark.parametrize("name", RETURNED)
def test_what_is_no_tensor(name: str) -> None:
    net = linear()

    def model(x: Tensor) -> Any:
        return RETURNED[name](net(x))

    found = certify(model, ROWS)
    (remedy,) = remedies(found)
    assert not found.homogeneous
    with pytest.raises((AttributeError, AssertionError)):
        XIntegratedGradients(model).attribute(ROWS, target=0)
    code = remedy.removeprefix("explain one tensor of it: ")
    assert code.startswith("lambda")
    function = eval(code, {"model": model})
    assert certify(function, ROWS).homogeneous
    XIntegratedGradients(function, strategy="single_pass").attribute(ROWS, target=0)


@pytest.mark.parametrize("returned", [None, 1.0, "logits", {}, [None]])
def test_what_holds_no_tensor(returned: Any) -> None:
    (remedy,) = remedies(certify(lambda x: returned, ROWS))
    assert remedy == "return a tensor of shape (B, ...)"
