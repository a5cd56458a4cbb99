"""After an error the model is as it was, also where it was to be changed in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from captum_xdnn import HomogeneityWarning
from captum_xdnn.convert import kaiming_normal_, to_xdnn

from .networks import conv_net, images
from .state_of import state_of


class Zeroed(nn.Module):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return 0 * value


def _network() -> nn.Sequential:
    network = conv_net(bias=True).train()
    network[0].register_forward_hook(lambda *_: None)
    network[2].register_forward_hook(lambda *_: None)
    parametrizations.weight_norm(network[3])
    parametrize.register_parametrization(network[0], "bias", Zeroed())
    parametrizations.weight_norm(network[8], "bias")
    return network.append(nn.Softmax(-1))


class Failing:
    """Works twice, then raises."""

    def __init__(self, function: Callable[..., Any], error: type[BaseException]) -> None:
        self.function, self.error, self.calls = function, error, 0

    def __call__(self, *args: Any) -> Any:
        self.calls += 1
        if self.calls > 1:
            raise self.error("no more")
        return self.function(*args)


FAILURES: dict[str, tuple[Callable[[], dict[str, Any]], type[BaseException]]] = {
    "option": (lambda: {"batch_norm": "fuse"}, ValueError),
    "inputs of another type": (lambda: {"inputs": [images()]}, TypeError),
    "inputs of another shape": (lambda: {"inputs": torch.zeros(2, 5)}, RuntimeError),
    "fold without inputs": (lambda: {"batch_norm": "fold", "inputs": None}, ValueError),
    "no activation": (lambda: {"activation": Failing(nn.ReLU, OSError)}, OSError),
    "no module": (lambda: {"activation": lambda: torch.relu}, TypeError),
    "init": (lambda: {"init": Failing(kaiming_normal_, ArithmeticError)}, ArithmeticError),
    "init after folding": (
        lambda: {"batch_norm": "fold", "init": Failing(kaiming_normal_, ArithmeticError)},
        ArithmeticError,
    ),
    "interrupted": (
        lambda: {"init": Failing(kaiming_normal_, KeyboardInterrupt)},
        KeyboardInterrupt,
    ),
}


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize("name", FAILURES)
def test_nothing_is_changed(name: str, inplace: bool) -> None:
    options, error = FAILURES[name]
    network = _network()
    before, text = state_of(network), repr(network)
    with pytest.raises(error):
        to_xdnn(network, **{"inputs": images(), "inplace": inplace, **options()})
    assert state_of(network) == before
    assert repr(network) == text
    network(images())


@pytest.mark.filterwarnings("error")
def test_a_warning_that_is_an_error_leaves_the_network_as_well() -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.Tanh())
    before, text = state_of(network), repr(network)
    for inputs in (None, torch.zeros(2, 4)):
        with pytest.raises(HomogeneityWarning):
            to_xdnn(network, inputs=inputs, inplace=True, init=kaiming_normal_)
        assert state_of(network) == before
        assert repr(network) == text


def test_the_handles_of_hooks_work_after_an_error() -> None:
    network, calls = conv_net(), []
    handle = network[2].register_forward_hook(lambda *_: calls.append(1))
    with pytest.raises(OSError, match="no more"):
        to_xdnn(network, inputs=images(), inplace=True, activation=Failing(nn.ReLU, OSError))
    calls.clear()
    network(images())
    assert calls == [1]
    handle.remove()
    network(images())
    assert calls == [1]


def test_a_model_that_fails_in_its_own_forward_says_so_itself() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        to_xdnn(nn.Linear(4, 3), inputs=torch.zeros(2, 5))
