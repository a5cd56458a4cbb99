"""Fingerprints: every change of what a function is made of is noticed, and nothing else is."""

from __future__ import annotations

import copy
import functools
import gc
import statistics
import time
import types
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from configured_model import Configured
from torch import Tensor, nn

from captum_xdnn.homogeneity.fingerprint import Fingerprint


def _rebind_parameter(m: Configured) -> None:
    m.head.weight = nn.Parameter(m.head.weight.detach().clone())


def _swap(m: Configured) -> None:
    m.layers[0], m.layers[1] = m.layers[1], m.layers[0]


def _patch_forward(m: Configured) -> None:
    m.forward = types.MethodType(lambda self, x: x, m)


def _patch_inner_forward(m: Configured) -> None:
    m.layers[1].forward = torch.abs


CHANGES: dict[str, Callable[[Any], Any]] = {
    "submodule replaced": lambda m: setattr(m, "head", nn.Linear(4, 2)),
    "submodule inside a container replaced": lambda m: m.layers.__setitem__(1, nn.GELU()),
    "submodule added": lambda m: m.add_module("extra", nn.ReLU()),
    "submodule appended": lambda m: m.blocks.append(nn.Linear(4, 4)),
    "submodule removed": lambda m: delattr(m, "norm"),
    "submodules swapped": _swap,
    "parameter replaced": _rebind_parameter,
    "parameter removed": lambda m: setattr(m.head, "bias", None),
    "parameter added": lambda m: m.register_parameter("extra", nn.Parameter(torch.ones(1))),
    "buffer replaced": lambda m: setattr(m.norm, "running_mean", torch.zeros(4)),
    "buffer added": lambda m: m.register_buffer("extra", torch.ones(1)),
    "tensor attribute replaced": lambda m: setattr(m, "mask", torch.ones(4)),
    "train": lambda m: m.train(not m.training),
    "train of one part": lambda m: m.layers[2].train(not m.layers[2].training),
    "forward hook": lambda m: m.layers[0].register_forward_hook(lambda *_: None),
    "forward pre-hook": lambda m: m.register_forward_pre_hook(lambda *_: None),
    "backward hook": lambda m: m.head.register_full_backward_hook(lambda *_: None),
    "number": lambda m: setattr(m, "slope", 0.2),
    "number in a layer": lambda m: setattr(m.layers[2], "p", 0.1),
    "number of another type": lambda m: setattr(m, "slope", True),
    "text": lambda m: setattr(m, "mode", "slow"),
    "attribute added": lambda m: setattr(m, "extra", 1),
    "attribute removed": lambda m: delattr(m, "mode"),
    "list item": lambda m: m.sizes.__setitem__(0, 9),
    "list grown": lambda m: m.sizes.append(4),
    "dictionary item": lambda m: m.table.__setitem__("depth", 3),
    "set": lambda m: m.names.add("three"),
    "nested item": lambda m: m.nested["list"][1].__setitem__("deep", 2),
    "function attribute": lambda m: setattr(m, "activation", torch.abs),
    "forward patched on the instance": _patch_forward,
    "forward patched on a part": _patch_inner_forward,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_a_module_is_noticed(change: str) -> None:
    model = Configured()
    seen = Fingerprint(model)
    assert seen.matches(model)
    kept = CHANGES[change](model)
    assert not seen.matches(model)
    assert not seen.matches(model), "once noticed, it stays noticed"
    del kept
    assert Fingerprint(model).matches(model)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_noticed_through_whatever_holds_the_module(change: str) -> None:
    model = Configured()

    def closure(x: Tensor) -> Tensor:
        return model(x).sum(1)

    for holder in (closure, model.forward, functools.partial(_apply, model=model)):
        model.__dict__.update(copy.deepcopy(Configured()).__dict__)
        seen = Fingerprint(holder)
        assert seen.matches(holder)
        kept = CHANGES[change](model)
        if change != "forward patched on the instance" or holder is closure:
            assert not seen.matches(holder)
        model.__dict__.pop("forward", None)
        model.__dict__.pop("extra", None)
        del kept


def _apply(x: Tensor, model: nn.Module) -> Tensor:
    return model(x)


def test_what_does_not_decide_the_graph_is_no_change() -> None:
    model = Configured()
    seen = Fingerprint(model)
    model(torch.ones(2, 3)).sum().backward()
    with torch.no_grad():
        model.head.bias.add_(1)
    model.load_state_dict(Configured().state_dict())
    model.zero_grad()
    model.train(model.training)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    gc.collect()
    assert seen.matches(model)


def test_a_hook_that_came_and_went_is_no_change() -> None:
    model = Configured()
    seen = Fingerprint(model)
    model.head.register_forward_hook(lambda *_: None).remove()
    assert seen.matches(model)


def test_a_change_that_is_undone_matches_again() -> None:
    model = Configured()
    seen = Fingerprint(model)
    head = model.head
    model.head = nn.Linear(4, 2)
    assert not seen.matches(model)
    model.head = head
    assert seen.matches(model)
    model.eval()
    assert not seen.matches(model)
    model.train()
    assert seen.matches(model)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda m: m,
        lambda m: lambda x: m(x),
        lambda m: functools.partial(_apply, model=m),
        lambda m: m.forward,
    ],
)
def test_a_fingerprint_keeps_no_model_alive(wrapped: Callable[[nn.Module], Any]) -> None:
    model = Configured()
    function = wrapped(model)
    gone = [weakref.ref(model), weakref.ref(model.layers[0])]
    seen = Fingerprint(function)
    assert seen.matches(function)
    del model, function
    gc.collect()
    assert [reference() for reference in gone] == [None, None]
    assert seen is not None


class Activation:
    """What a weak reference can be made to, and nothing more."""


def test_a_new_object_at_an_old_address_does_not_match() -> None:
    model = Configured()
    model.parents = [model]  # what holds itself is read in full, and kept by nobody
    reused = 0
    for _ in range(50):
        model.activation = Activation()
        seen, address = Fingerprint(model), id(model.activation)
        del model.activation
        others = [Activation()]
        while id(others[-1]) != address and len(others) < 100:
            others.append(Activation())
        model.activation = others[-1]
        reused += id(model.activation) == address
        assert not seen.matches(model)
    assert reused, "no address was used again, so this showed nothing"


def _deep() -> nn.Module:
    """As many modules, parameters and buffers as a ResNet-50 has."""
    blocks = []
    for _ in range(53):
        blocks += [nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1), nn.ReLU()]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(1, 1))


def test_matching_a_network_of_the_size_of_resnet50_costs_less_than_3_milliseconds() -> None:
    model = _deep()
    for function in (model, lambda x: model(x)):
        seen = Fingerprint(function)
        seconds = []
        for _ in range(15):
            start = time.perf_counter()
            assert seen.matches(function)
            seconds.append(time.perf_counter() - start)
        assert statistics.median(seconds) < 3e-3
