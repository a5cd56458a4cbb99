"""Functions that answer every question in their own way: they are called, and asked nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock, Mock, NonCallableMock, create_autospec

import pytest
import torch
from bias_free_networks import biased_mlp, mlp, rows
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients, certify


class Raising:
    """Raises for attributes that it has not."""

    def __init__(self, net: Any, error: type[Exception]) -> None:
        self.__dict__.update(net=net, error=error)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_partialmethod":
            raise AttributeError(name)  # the standard library asks for these, with Captum too
        raise self.__dict__["error"](name)

    def __call__(self, x: Tensor) -> Tensor:
        return self.__dict__["net"](x)


class Endless:
    """Has every attribute: another of its kind."""

    def __init__(self, net: Any) -> None:
        self.net = net

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_partialmethod":
            raise AttributeError(name)
        return Endless(self.__dict__["net"])

    def __call__(self, x: Tensor) -> Tensor:
        return self.net(x)


class Lying(Endless):
    """Says that it is a module."""

    @property
    def __class__(self) -> Any:
        return nn.Linear


class Slotted:
    __slots__ = ("net",)

    def __init__(self, net: Any) -> None:
        self.net = net

    def __call__(self, x: Tensor) -> Tensor:
        return self.net(x)


class Around(nn.Module):
    """A module that looks up in a table what it has not, and holds something that only says it is one."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self.stub = NonCallableMock(spec=nn.Linear(2, 2))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_partialmethod":
            raise AttributeError(name)
        return self.__dict__["_modules"][name]  # KeyError

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def over_mocks(one: Any, other: Any) -> Callable[[Tensor], Any]:
    return lambda x: one(x) if other is not None else None


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "Mock": lambda net: Mock(side_effect=net),
    "MagicMock": lambda net: MagicMock(side_effect=net),
    "Mock around": lambda net: Mock(wraps=net),
    "spec": lambda net: MagicMock(spec=net, side_effect=net),
    "Mock, spec": lambda net: Mock(spec=nn.Module, side_effect=net),
    "autospec": lambda net: create_autospec(lambda x: x, side_effect=net),
    "KeyError": lambda net: Raising(net, KeyError),
    "ConnectionError": lambda net: Raising(net, ConnectionError),
    "endless": Endless,
    "lying": Lying,
    "slots": Slotted,
    "module with a stub": Around,
    "closure over mocks": lambda net: over_mocks(Mock(wraps=net), MagicMock(spec=net)),
}


@pytest.mark.parametrize("build", [mlp, biased_mlp])
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_strange_function_is_called_and_asked_nothing(kind: str, build: Any) -> None:
    net, x = build(), rows()
    function = FUNCTIONS[kind](net)
    expected = IntegratedGradients(net).attribute(x, target=1, n_steps=300)
    explainer = XIntegratedGradients(function)
    for _ in range(2):
        found = explainer.attribute(x, target=1, n_steps=300)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    assert certify(function, x).homogeneous == (build is mlp)
    IntegratedGradients(FUNCTIONS[kind](net)).attribute(x, target=1, n_steps=3)  # works too


@pytest.mark.parametrize("build", [mlp, biased_mlp])
@pytest.mark.parametrize("kind", ["Mock", "MagicMock", "Mock around", "spec"])
def test_a_mock_counts_the_calls_that_captum_makes(kind: str, build: Any) -> None:
    counts = []
    for method in (IntegratedGradients, XIntegratedGradients):
        function = FUNCTIONS[kind](build())
        explainer = method(function)
        for _ in range(2):
            explainer.attribute(rows(), target=1, n_steps=5)
            counts.append(function.call_count)
    assert counts[:2] == counts[2:]
