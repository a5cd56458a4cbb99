"""Functions whose gradients are not those of their values: a copy of the graph would be wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from bias_free_networks import rows
from captum_parity import gap
from torch import Tensor
from trapped_networks import (
    CLOSE,
    Network,
    assert_refused,
    attributed,
    captums,
    hoisted,
    refusal_of,
    untampered,
)

pytestmark = pytest.mark.usefixtures("always_hoisted")


class PassedOn(torch.autograd.Function):
    """A straight-through estimator: a value that is rounded, a gradient that is not."""

    @staticmethod
    def forward(ctx: Any, h: Tensor) -> Tensor:
        return h.round(decimals=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class Tripled(torch.autograd.Function):
    """The value unchanged, its gradient three times as large for every other entry."""

    @staticmethod
    def forward(ctx: Any, h: Tensor) -> Tensor:
        return h.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        scale = torch.ones_like(gradient)
        scale[..., ::2] = 3
        return gradient * scale


def tripled_by_hook(h: Tensor) -> Tensor:
    h = h * 1.0
    if h.requires_grad:
        h.register_hook(lambda gradient: gradient * torch.linspace(0, 2, h.shape[1]).to(h))
    return h


def half_detached(h: Tensor) -> Tensor:
    return torch.cat([h[:, :3].detach(), h[:, 3:]], 1)


def half_by_data(h: Tensor) -> Tensor:
    return torch.cat([h[:, :3].data, h[:, 3:]], 1)


def half_without_grad(h: Tensor) -> Tensor:
    with torch.no_grad():
        fixed = h[:, :3] * 1.0
    return torch.cat([fixed, h[:, 3:]], 1)


def half_with_the_switch(h: Tensor) -> Tensor:
    before = torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    fixed = h[:, :3] * 1.0
    torch.set_grad_enabled(before)
    return torch.cat([fixed, h[:, 3:]], 1)


@torch.no_grad()
def decorated(h: Tensor) -> Tensor:
    return torch.sigmoid(h)


def gated_without_grad(h: Tensor) -> Tensor:
    return h * decorated(h)


INSIDE: dict[str, tuple[Callable[[Tensor], Tensor], tuple[str, ...]]] = {
    "straight through": (PassedOn.apply, ("autograd.Function PassedOn",)),
    "custom function": (Tripled.apply, ("autograd.Function Tripled",)),
    "tensor hook": (tripled_by_hook, ("hook on a tensor",)),
}


@pytest.mark.parametrize("name", INSIDE)
@pytest.mark.parametrize("part", ["in_trunk", "in_head"])
def test_a_trap_inside_of_the_function(name: str, part: str) -> None:
    trap, words = INSIDE[name]
    net = Network(**{part: trap})
    twin = untampered(net)
    x = rows()
    if part == "in_trunk" and not refusal_of(net, x):
        words = ()  # such a trunk has no proof at all
    assert_refused(net, twin, *words, x=x)


@pytest.mark.parametrize("part", ["in_trunk", "in_head"])
@pytest.mark.parametrize(
    "trap", [half_detached, half_by_data, half_without_grad, half_with_the_switch]
)
def test_detached_parts_are_captums(trap: Callable[[Tensor], Tensor], part: str) -> None:
    """A run shows what is detached, so hoisting may be right there; a route is not demanded."""
    net = Network(**{part: trap})
    x = rows()
    clean = hoisted(untampered(net), x)
    for _ in range(2):
        found, _ = attributed(net, x)
        expected = captums(net, x)
        assert gap((found,), (expected,)) <= CLOSE
    assert gap((clean,), (expected,)) > 1e-3


@pytest.mark.parametrize("part", ["in_trunk", "in_head"])
def test_a_part_that_a_decorator_keeps_from_gradients(part: str) -> None:
    net, x = Network(**{part: gated_without_grad}), rows()
    for _ in range(2):
        found, _ = attributed(net, x)
        assert gap((found,), (captums(net, x),)) <= CLOSE


class ForSome(torch.autograd.Function):
    """Another gradient only for examples of a large sum, of which the first call has none."""

    @staticmethod
    def forward(ctx: Any, h: Tensor) -> Tensor:
        ctx.save_for_backward(h)
        return h.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (h,) = ctx.saved_tensors
        return torch.where(h.sum(1, keepdim=True) > 1, 0 * gradient, gradient)


def through_a_node(h: Tensor) -> Tensor:
    """The same by a hook on the node of the graph of gradients."""
    h, rare = h * 1.0, h.detach().sum(1, keepdim=True) > 1
    if h.grad_fn is not None:
        h.grad_fn.register_prehook(lambda grads: (torch.where(rare, 0 * grads[0], grads[0]),))
    return h


def after_a_node(h: Tensor) -> Tensor:
    result, rare = h * 1.0, h.detach().sum(1, keepdim=True) > 1
    if result.grad_fn is not None:
        result.grad_fn.register_hook(
            lambda into, out: (torch.where(rare, 0 * into[0], into[0]), *into[1:])
        )
    return result


def with_many_hooks(h: Tensor) -> Tensor:
    h, rare = h * 1.0, h.detach().sum(1, keepdim=True) > 1
    if h.requires_grad:
        torch.autograd.graph.register_multi_grad_hook((h,), lambda gradients: None)
        h.register_hook(lambda gradient: torch.where(rare, 0 * gradient, gradient))
    return h


RARE = {
    "custom function": ForSome.apply,
    "tensor hook": with_many_hooks,
    "hook before a node": through_a_node,
    "hook behind a node": after_a_node,
}


@pytest.mark.parametrize("name", RARE)
def test_a_copy_that_differs_for_some_examples(name: str) -> None:
    """A rehearsal on the first call's examples would see nothing."""
    net = Network(in_head=RARE[name])
    net.second.weight.data.abs_()  # the sum in the head has the sign of the trunk
    x = rows()
    twin = untampered(net)
    hoisted(twin, x)
    with torch.no_grad():
        sums = twin.saturated(twin.second(twin.bend(twin.first(x)))).sum(1)
    tame = x * (0.5 / sums)[:, None].clamp(max=1)
    for examples, differs in ((tame, False), (x, True)):
        found, _ = attributed(net, examples)
        expected = captums(net, examples)
        clean, _ = attributed(twin, examples)
        assert (gap((clean,), (expected,)) > 1e-3) == differs
        assert gap((found,), (expected,)) <= CLOSE


@pytest.mark.parametrize("part", ["in_trunk", "in_head"])
def test_what_only_looks_like_a_trap_is_right(part: str) -> None:
    """Forward hooks and checkpoints change no gradient; whatever the route, the numbers hold."""
    net = Network(
        **{part: lambda h: torch.utils.checkpoint.checkpoint(torch.square, h, use_reentrant=False)}
    )
    net.bend.register_forward_hook(lambda module, given, result: result * 2)
    x = rows()
    found, _ = attributed(net, x)
    expected = captums(net, x)
    assert gap((found,), (expected,)) <= CLOSE
