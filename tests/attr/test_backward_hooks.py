"""Backward hooks and patched bends: gradients that no graph of the values shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from bias_free_networks import rows
from captum.attr import GuidedBackprop
from captum_parity import gap
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
)
from trapped_networks import (
    CLOSE,
    Network,
    assert_refused,
    attributed,
    hoisted,
    left_to_captum,
    refusal_of,
    untampered,
)

pytestmark = pytest.mark.usefixtures("always_hoisted")


class Guided(torch.autograd.Function):
    """ReLU as guided backpropagation has it."""

    @staticmethod
    def forward(ctx: Any, h: Tensor) -> Tensor:
        ctx.save_for_backward(h)
        return h.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (h,) = ctx.saved_tensors
        return gradient.clamp(min=0) * (h > 0)


def scaled(module: nn.Module, into: Any, out_of: Any) -> tuple[Tensor, ...]:
    return tuple(g if g is None else g * torch.linspace(0, 2, g.shape[-1]).to(g) for g in into)


def scaled_before(module: nn.Module, out_of: Any) -> tuple[Tensor, ...]:
    return scaled(module, out_of, None)


HOOKS: dict[str, Callable[[nn.Module], Any]] = {
    "full": lambda part: part.register_full_backward_hook(scaled),
    "deprecated": lambda part: part.register_backward_hook(scaled),
    "before": lambda part: part.register_full_backward_pre_hook(scaled_before),
}


@pytest.mark.parametrize("name", HOOKS)
@pytest.mark.parametrize("part", ["bend", "saturated"])
@pytest.mark.parametrize("late", [False, True])
def test_a_backward_hook_on_a_module(name: str, part: str, late: bool) -> None:
    net = Network()
    twin, x = untampered(net), rows()
    if late:
        hoisted(net, x)
    handle = HOOKS[name](getattr(net, part))
    assert_refused(net, twin, "backward hook", "autograd's nodes", x=x)
    handle.remove()
    assert gap((hoisted(net, x),), attributed(twin, x)[:1]) <= CLOSE


GLOBAL_HOOKS: dict[str, Callable[[], Any]] = {
    "full": lambda: register_module_full_backward_hook(
        lambda m, into, out: scaled(m, into, out) if isinstance(m, nn.Tanh) else None
    ),
    "before": lambda: register_module_full_backward_pre_hook(
        lambda m, out: scaled(m, out, None) if isinstance(m, nn.Tanh) else None
    ),
}


@pytest.mark.parametrize("name", GLOBAL_HOOKS)
@pytest.mark.parametrize("late", [False, True])
def test_a_global_backward_hook(name: str, late: bool) -> None:
    net, x = Network(), rows()
    if late:
        hoisted(net, x)
    clean, _ = attributed(untampered(net), x)
    handle = GLOBAL_HOOKS[name]()
    try:
        for _ in range(2):
            expected = left_to_captum(net, x)
        assert "backward hook" in refusal_of(net, x)
    finally:
        handle.remove()
    assert gap((clean,), (expected,)) > 1e-3
    assert gap((hoisted(net, x),), (clean,)) <= CLOSE


class Functional(nn.Module):
    """Bends by ``F.relu``, looked up at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in ((6, 12), (12, 8), (8, 3))).double()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


@pytest.mark.parametrize("late", [False, True])
def test_a_patched_relu(late: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = Functional(), rows()
    if late:
        hoisted(net, x)
    with monkeypatch.context() as patch:
        patch.setattr(F, "relu", Guided.apply)
        expected = left_to_captum(net, x)
        assert "Guided" in refusal_of(net, x)
    assert gap((hoisted(net, x),), (expected,)) > 1e-3


@contextmanager
def guided(net: nn.Module) -> Iterator[None]:
    """A network with the hooks of Captum's guided backpropagation."""
    method = GuidedBackprop(net)
    net.apply(method._register_hooks)
    try:
        yield
    finally:
        method._remove_hooks()


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.filterwarnings("ignore:Setting backward hooks")
def test_captums_guided_backpropagation(late: bool) -> None:
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
    net, x = net.double(), rows()
    if late:
        hoisted(net, x)
    with guided(net):
        expected = left_to_captum(net, x)
    assert gap((hoisted(net, x),), (expected,)) > 1e-3
