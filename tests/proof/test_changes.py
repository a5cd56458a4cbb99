"""Whatever decides what a function computes may change between calls: each call shows what it is."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from captum.attr import IntegratedGradients
from torch import Tensor, nn
from torch.nn.modules import module as module_globals

from captum_xdnn import XIntegratedGradients
from captum_xdnn.homogeneity import certify

GLOBAL = {"shift": 0.0}
X = torch.tensor([[0.2, -0.7, 0.1], [-0.3, 0.4, 0.9]])

Shift = tuple[Callable[[], Any], Callable[[float], Any]]
"""How a function reads a shift, and how it is changed."""


class OfAClass:
    shift = 0.0


class Slotted:
    __slots__ = ("shift",)


@dataclasses.dataclass
class Settings:
    shift: float = 0.0


@dataclasses.dataclass
class Nested:
    inner: Settings = dataclasses.field(default_factory=Settings)


def _attribute(holder: Any) -> Shift:
    holder.shift = 0.0
    return lambda: holder.shift, lambda value: setattr(holder, "shift", value)


def _item(holder: Any, key: Any) -> Shift:
    return lambda: holder[key], lambda value: holder.__setitem__(key, value)


def _nested() -> Shift:
    settings = Nested()
    return lambda: settings.inner.shift, lambda v: setattr(settings, "inner", Settings(v))


def _closure() -> Shift:
    shift = 0.0

    def change(value: float) -> None:
        nonlocal shift
        shift = value

    return lambda: shift, change


def _global() -> Shift:
    return lambda: GLOBAL_SHIFT, lambda value: globals().__setitem__("GLOBAL_SHIFT", value)


GLOBAL_SHIFT = 0.0


def _default() -> Shift:
    def read(shift: float = 0.0) -> float:
        return shift

    return read, lambda value: setattr(read, "__defaults__", (value,))


def _keyword_default() -> Shift:
    def read(*, shift: float = 0.0) -> float:
        return shift

    return read, lambda value: setattr(read, "__kwdefaults__", {"shift": value})


def _of_a_package() -> Shift:
    package = types.ModuleType("captum_xdnn_settings")
    sys.modules["captum_xdnn_settings"] = package
    return _attribute(package)


def _environment() -> Shift:
    os.environ["CAPTUM_XDNN_SHIFT"] = "0"
    return (
        lambda: float(os.environ["CAPTUM_XDNN_SHIFT"]),
        lambda value: os.environ.__setitem__("CAPTUM_XDNN_SHIFT", str(value)),
    )


def _tensor(read: Callable[[Tensor], Any]) -> Shift:
    held = torch.zeros(1)
    return lambda: read(held), held.fill_


def _array() -> Shift:
    held = np.zeros(1)
    return lambda: float(held[0]), held.fill


SHIFTS: dict[str, Callable[[], Shift]] = {
    "a class": lambda: _attribute(OfAClass),
    "slots": lambda: _attribute(Slotted()),
    "a dataclass": lambda: _attribute(Settings()),
    "nested settings": _nested,
    "a namespace": lambda: _attribute(types.SimpleNamespace()),
    "parsed arguments": lambda: _attribute(argparse.Namespace()),
    "an attribute of a module": lambda: _attribute(nn.ReLU()),
    "a function": lambda: _attribute(lambda: None),
    "a dictionary": lambda: _item({"shift": 0.0}, "shift"),
    "a list": lambda: _item([0.0], 0),
    "a global dictionary": lambda: _item(GLOBAL, "shift"),
    "a closure": _closure,
    "a global": _global,
    "a default": _default,
    "a keyword default": _keyword_default,
    "a package": _of_a_package,
    "the environment": _environment,
    "a tensor": lambda: _tensor(lambda t: t),
    "item()": lambda: _tensor(Tensor.item),
    "tolist()": lambda: _tensor(lambda t: t.tolist()[0]),
    "numpy()": lambda: _tensor(lambda t: torch.from_numpy(t.numpy())),
    "an array": _array,
}


def _follows(function: Callable[..., Any], change: Callable[[bool], Any]) -> None:
    """Change what a function computes, to and fro: its numbers and its verdict follow."""
    xig, captum = XIntegratedGradients(function), IntegratedGradients(function)
    for good in (True, False, False, True, False, True):
        change(good)
        assert certify(function, X).homogeneous is good
        found = xig.attribute(X, target=0, n_steps=20)
        expected = captum.attribute(X, target=0, n_steps=20)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
        assert (xig.last_route == "single_pass") is good


@pytest.mark.parametrize("kind", SHIFTS)
def test_a_shift_that_changes_is_seen(kind: str) -> None:
    read, write = SHIFTS[kind]()
    layer = nn.Linear(3, 4, bias=False)
    _follows(lambda x: (layer(x) + read()).relu(), lambda good: write(0.0 if good else 0.25))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.act, self.drop = nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Dropout(0.0)
        self.mode, self.function = "plain", torch.relu

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.layer(x))
        h = F.leaky_relu(h) if self.mode == "plain" else F.gelu(h)
        return self.between(self.function(h))

    def between(self, h: Tensor) -> Tensor:
        return h


def _shifted(module: Any, given: Any, result: Tensor) -> Tensor:
    return result + 0.25 if isinstance(module, nn.Linear) else result


def _in_place_of(holder: Any, name: str, other: Any) -> Callable[[bool], None]:
    mine = holder.__dict__.get(name)

    def change(good: bool) -> None:
        if not good:
            setattr(holder, name, other)
        elif mine is not None:
            setattr(holder, name, mine)
        elif name in holder.__dict__:
            delattr(holder, name)

    return change


def _hooked(register: Callable[[], Any]) -> Callable[[bool], None]:
    handles: list[Any] = []

    def change(good: bool) -> None:
        while handles:
            handles.pop().remove()
        if not good:
            handles.append(register())

    return change


STRUCTURES: dict[str, Callable[[Net], Callable[[bool], Any]]] = {
    "a submodule": lambda m: lambda good: setattr(m, "act", nn.ReLU() if good else nn.GELU()),
    "a text": lambda m: lambda good: setattr(m, "mode", "plain" if good else "bent"),
    "a function of the module": lambda m: _in_place_of(m, "function", torch.sigmoid),
    "forward of the instance": lambda m: _in_place_of(m.act, "forward", torch.sigmoid),
    "forward of the class": lambda m: _in_place_of(Net, "between", lambda self, h: h.sigmoid()),
    "a functional": lambda m: _in_place_of(F, "leaky_relu", F.silu),
    "a forward hook": lambda m: _hooked(lambda: m.layer.register_forward_hook(_shifted)),
    "a forward pre-hook": lambda m: _hooked(
        lambda: m.act.register_forward_pre_hook(lambda module, given: (given[0] + 0.25,))
    ),
    "a global hook": lambda m: _hooked(
        lambda: module_globals.register_module_forward_hook(_shifted)
    ),
    "a bias": lambda m: (
        lambda good: setattr(m.layer, "bias", None if good else nn.Parameter(torch.ones(4)))
    ),
}


@pytest.mark.parametrize("kind", STRUCTURES)
@pytest.mark.parametrize("wrapped", [False, True], ids=["itself", "behind a lambda"])
def test_a_network_that_changes_is_seen(kind: str, wrapped: bool) -> None:
    net = Net().eval()
    change = STRUCTURES[kind](net)
    try:
        _follows((lambda x: net(x)) if wrapped else net, change)
    finally:
        change(True)


def test_a_wrapper_that_computes_is_seen() -> None:
    net = Net().eval()
    for wrap, good in ((lambda f: f, True), (lambda f: lambda x: f(x + 0.25), False)) * 2:
        assert certify(wrap(net), X).homogeneous is good


def test_a_switch_to_training_and_back_is_seen() -> None:
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Dropout(0.5), nn.ReLU())
    for training in (False, True, False, True):
        net.train(training)
        assert certify(net, X).homogeneous is not training
