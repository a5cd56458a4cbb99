"""Weights and biases that something computes: parametrizations, and hooks of the old style."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.testing import assert_close

from captum_xdnn.convert import Change, to_xdnn

from .networks import rows, trained

COMPUTED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
}


class Doubled(nn.Module):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return 2 * value


def _old_style(apply: Any, layer: nn.Module, name: str = "weight") -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch tells that they are deprecated
        return apply(layer, name)


def _without_bias(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return layer(x) - layer(0 * x)


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize("name", COMPUTED)
def test_parametrized_weights_stay_parametrized(name: str, inplace: bool) -> None:
    layer = COMPUTED[name](trained(nn.Linear(4, 3))).eval()
    expected = _without_bias(layer, x := rows())
    made, report = to_xdnn(layer, inputs=x, inplace=inplace)
    assert parametrize.is_parametrized(made, "weight")
    assert made.bias is None
    assert_close(made(x), expected)
    assert report.changes == (Change("", "ParametrizedLinear", "bias removed"),)
    assert report.homogeneous
    made.train()(x).sum().backward()
    assert all(p.grad is not None for p in made.parameters())


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize(
    "apply", [parametrizations.weight_norm, parametrize.register_parametrization]
)
def test_a_parametrized_bias_is_removed_with_what_computes_it(apply: Any, inplace: bool) -> None:
    more = (Doubled(),) if apply is parametrize.register_parametrization else ()
    layer = apply(trained(nn.Linear(4, 3)), "bias", *more)
    expected = _without_bias(layer, x := rows())
    made, report = to_xdnn(layer, inputs=x, inplace=inplace)
    assert type(made) is nn.Linear
    assert list(made.state_dict()) == ["weight"]
    assert_close(made(x), expected)
    assert report.changes == (Change("", "ParametrizedLinear", "bias removed"),)
    assert report.homogeneous


def test_copies_of_a_parametrized_module_keep_their_biases() -> None:
    layer = parametrizations.weight_norm(trained(nn.Linear(4, 3)), "bias")
    parametrizations.spectral_norm(layer).eval()
    other, x = copy.deepcopy(layer), rows()
    expected = layer(x)
    for inplace in (False, True):
        made, _ = to_xdnn(other, inputs=x, inplace=inplace)
        assert not parametrize.is_parametrized(made, "bias")
        assert parametrize.is_parametrized(made, "weight")
        assert_close(layer(x), expected, rtol=0, atol=0)


class Hypernetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.activation = nn.Linear(4, 4), nn.GELU()

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return self.activation(self.linear(weight))


@pytest.mark.parametrize("computing", [nn.Softplus(), Hypernetwork()])
def test_the_modules_that_compute_a_weight_are_left(computing: nn.Module) -> None:
    layer = trained(nn.Linear(4, 3))
    parametrize.register_parametrization(layer, "weight", computing)
    expected = _without_bias(layer, x := rows())
    made, report = to_xdnn(layer, inputs=x)
    assert_close(made(x), expected)
    assert repr(made.parametrizations) == repr(layer.parametrizations)
    assert report.changes == (Change("", "ParametrizedLinear", "bias removed"),)
    assert report.homogeneous


def test_a_parametrized_batch_norm_is_converted() -> None:
    norm = trained(nn.BatchNorm1d(4)).eval()
    plain = copy.deepcopy(norm)
    parametrize.register_parametrization(norm, "weight", Doubled())
    plain.weight.data *= 2
    x = rows()
    assert_close(to_xdnn(norm, inputs=x)[0](x), to_xdnn(plain, inputs=x)[0](x))


OLD_STYLE = [nn.utils.weight_norm, nn.utils.spectral_norm]


@pytest.mark.parametrize("apply", OLD_STYLE)
def test_old_style_weights_in_place(apply: Any) -> None:
    network = nn.Sequential(_old_style(apply, trained(nn.Linear(4, 3))), nn.GELU()).eval()
    expected = _without_bias(network[0], x := rows()).relu()
    made, report = to_xdnn(network, inputs=x, inplace=True)
    assert report.homogeneous
    assert made is network
    assert_close(made(x), expected)
    assert [c.what for c in report.changes] == ["bias removed", "became ReLU"]


def test_old_style_weights_cannot_be_copied() -> None:
    network = nn.Sequential(_old_style(nn.utils.weight_norm, nn.Linear(4, 3)))
    message = r"cannot be copied \(Only Tensors created explicitly.*pass inplace=True, or use torch"
    with pytest.raises(RuntimeError, match=message):
        to_xdnn(network, inputs=rows())


def test_another_reason_why_a_model_cannot_be_copied_is_told() -> None:
    network = nn.Linear(4, 3)
    network.stream = (n for n in range(3))
    with pytest.raises(
        RuntimeError, match=r"cannot be copied \(cannot pickle 'generator' object\)"
    ):
        to_xdnn(network, inputs=rows())
    made, _ = to_xdnn(network, inputs=rows(), inplace=True)
    assert made is network


@pytest.mark.parametrize("apply", [*OLD_STYLE, prune.random_unstructured])
def test_an_old_style_bias_is_removed_with_what_computes_it(apply: Any) -> None:
    layer = trained(nn.Linear(4, 3)).eval()
    if apply is prune.random_unstructured:
        prune.random_unstructured(layer, "bias", amount=0.5)
    else:
        _old_style(apply, layer, "bias")
    expected = _without_bias(layer, x := rows())
    made, report = to_xdnn(layer, inputs=x, inplace=True)
    assert list(made.state_dict()) == ["weight"]
    assert not made._forward_pre_hooks
    assert_close(made(x), expected)
    assert report.changes == (Change("", "Linear", "bias removed"),)
    assert report.homogeneous
