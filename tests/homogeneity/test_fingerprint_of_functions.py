"""Fingerprints of functions: what their code reads from outside of itself is noticed too."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import logging
import types
from typing import Any
from unittest import mock

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from configured_model import Configured
from torch import Tensor, nn
from torch.nn.modules import module as module_globals

from captum_xdnn.homogeneity.fingerprint import Fingerprint

GLOBAL_MODEL: nn.Module = nn.Linear(3, 2)
GLOBAL_SCALE = 2.0
LOGGER = logging.getLogger(__name__)


def _apply(x: Tensor, model: nn.Module) -> Tensor:
    return model(x)


def test_a_rebound_closure_variable_is_noticed() -> None:
    model: nn.Module = nn.Linear(3, 2)
    scale = 1.0

    def rebind(other: nn.Module | None = None, factor: float | None = None) -> None:
        nonlocal model, scale
        model, scale = other or model, factor or scale

    def function(x: Tensor) -> Tensor:
        return model(x) * scale

    seen = Fingerprint(function)
    assert seen.matches(function)
    rebind(factor=2.0)
    assert not seen.matches(function)
    seen = Fingerprint(function)
    rebind(other=nn.Linear(3, 2))
    assert not seen.matches(function)


def test_a_rebound_global_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def function(x: Tensor) -> Tensor:
        return GLOBAL_MODEL(x) * GLOBAL_SCALE

    seen = Fingerprint(function)
    assert seen.matches(function)
    monkeypatch.setitem(globals(), "GLOBAL_SCALE", 3.0)
    assert not seen.matches(function)
    seen = Fingerprint(function)
    monkeypatch.setitem(globals(), "GLOBAL_MODEL", nn.Linear(3, 2))
    assert not seen.matches(function)


def test_a_global_of_a_function_that_is_called_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    function = lambda x: _scaled(x).relu()  # noqa: E731
    seen = Fingerprint(function)
    assert seen.matches(function)
    monkeypatch.setitem(globals(), "GLOBAL_SCALE", 3.0)
    assert not seen.matches(function)


def _scaled(x: Tensor) -> Tensor:
    return x * GLOBAL_SCALE


class Indirect(nn.Module):
    """What it computes hangs on things outside of it."""

    def __init__(self, settings: Any) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, x: Tensor) -> Tensor:
        parts = [F.relu(part) * GLOBAL_SCALE for part in x.unbind(1)]
        return self.finished(torch.stack(parts, 1))

    def finished(self, x: Tensor) -> Tensor:
        return _scaled(x) * self.settings.gain


OUTSIDE = {
    "a global read in a comprehension": (f"{__name__}.GLOBAL_SCALE", 3.0),
    "a function that is called": (f"{__name__}._scaled", torch.abs),
    "a function of torch": ("torch.stack", torch.cat),
    "a functional": ("torch.nn.functional.relu", torch.abs),
    "a functional that torch's layer calls": ("torch.nn.functional.gelu", torch.abs),
    "a method of the class": (f"{__name__}.Indirect.finished", lambda self, x: x),
    "the forward of a class": (f"{__name__}.Indirect.forward", lambda self, x: x),
    "the forward of torch's class": ("torch.nn.GELU.forward", lambda self, x: x),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_patch_is_noticed(name: str) -> None:
    model = nn.Sequential(Indirect(types.SimpleNamespace(gain=1.0)), nn.GELU())
    for function in (model, lambda x: model(x), functools.partial(_apply, model=model)):
        seen = Fingerprint(function)
        assert seen.matches(function)
        with mock.patch(*OUTSIDE[name]):
            assert not seen.matches(function)
        assert seen.matches(function)


@dataclasses.dataclass
class Settings:
    gain: float = 1.0


@pytest.mark.parametrize("kind", [Settings, types.SimpleNamespace, argparse.Namespace])
def test_an_object_that_holds_settings_is_looked_into(kind: Any) -> None:
    settings = kind(gain=1.0)
    model = Indirect(settings)
    for function in (model, lambda x: model(x)):
        settings.gain = 1.0
        seen = Fingerprint(function)
        assert seen.matches(function)
        settings.gain = 2.0
        assert not seen.matches(function)


def test_a_logger_among_the_globals_is_no_reason_to_trace_again() -> None:
    def function(x: Tensor) -> Tensor:
        LOGGER.debug("called")
        return x

    seen = Fingerprint(function)
    LOGGER.isEnabledFor(logging.DEBUG)
    assert seen.matches(function)


def test_changed_defaults_are_noticed() -> None:
    def function(x: Tensor, scale: float = 2.0, *, shift: float = 0.0) -> Tensor:
        return x * scale + shift

    seen = Fingerprint(function)
    function.__defaults__ = (3.0,)
    assert not seen.matches(function)
    seen = Fingerprint(function)
    function.__kwdefaults__ = {"shift": 1.0}
    assert not seen.matches(function)


def test_a_global_hook_is_noticed() -> None:
    model = Configured()
    seen = Fingerprint(model)
    handle = module_globals.register_module_forward_hook(lambda *_: None)
    try:
        assert not seen.matches(model)
    finally:
        handle.remove()
    assert seen.matches(model)


def test_an_attribute_of_a_callable_object_is_noticed() -> None:
    class Scorer:
        def __init__(self) -> None:
            self.model, self.threshold = nn.Linear(3, 2), 0.5

        def __call__(self, x: Tensor) -> Tensor:
            return self.model(x) * self.threshold

        def score(self, x: Tensor) -> Tensor:
            return self(x)

    scorer = Scorer()
    for function in (scorer, scorer.score):
        seen = Fingerprint(function)
        assert seen.matches(function)
        scorer.threshold += 1
        assert not seen.matches(function)
        seen = Fingerprint(function)
        scorer.model.eval() if scorer.model.training else scorer.model.train()
        assert not seen.matches(function)


def test_a_function_that_holds_itself_ends() -> None:
    def function(x: Tensor) -> Tensor:
        return function(x[1:]) if len(x) > 1 else x

    assert Fingerprint(function).matches(function)
    ring: dict[str, Any] = {}
    ring["self"] = ring
    model = Configured()
    model.ring = ring
    assert Fingerprint(model).matches(model)
