"""What stays as it was on the hoisted route: derivatives, modes, errors, the caller's objects."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from bias_free_networks import rows
from captum.attr import IntegratedGradients
from captum_parity import gap
from hoisted_examples import example_of
from hoisted_networks import Chain, bias_free, gelu_mlp, randomised
from snapshots import differing, everything
from torch import Tensor, nn
from wrong_calls import WRONG_CALLS, outcome

from captum_xdnn import XIntegratedGradients
from captum_xdnn.routes.captum import differentiable_quadrature
from captum_xdnn.routes.request import Call, Quadrature

pytestmark = pytest.mark.usefixtures("always_hoisted")

CLOSE = 1e-7
STEPS = 5


SMOOTH = ["biased, Tanh", "softmax", "two inputs", "degree 2, tanh", "mixer", "skipped"]


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("bound", [None, 6])
@pytest.mark.parametrize("multiply_by_inputs", [True, False])
def test_second_derivatives(name: str, bound: int | None, multiply_by_inputs: bool) -> None:
    example = example_of(name)
    randomised(example.function)  # a proof may not rest on a trained bias that is zero
    inputs = tuple(x.requires_grad_() for x in example.inputs)
    baselines = tuple(0.5 if name.startswith("biased") else 0 for _ in inputs)
    xig = XIntegratedGradients(example.function, multiply_by_inputs)
    found = xig.attribute(
        inputs, baselines, 1, n_steps=STEPS, internal_batch_size=bound, create_graph=True
    )
    assert xig.last_route == "hoisted"
    expected = differentiable_quadrature(
        example.function,
        Call(inputs, baselines, 1, ()),
        Quadrature(STEPS, "gausslegendre", bound),
        multiply_by_inputs=multiply_by_inputs,
    )
    assert gap(found, expected) <= CLOSE
    by = [*inputs, *example.function.parameters()]

    def derivatives(attributions: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        total = sum((a**2).sum() + a.abs().sum() for a in attributions)
        grads = torch.autograd.grad(total, by, allow_unused=True)
        return tuple(
            torch.zeros_like(t) if g is None else g for g, t in zip(grads, by, strict=True)
        )

    mine, theirs = derivatives(found), derivatives(expected)
    assert gap(mine, theirs) <= CLOSE
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


def test_an_input_that_requires_a_gradient() -> None:
    function, x = gelu_mlp(), rows().requires_grad_()
    xig = XIntegratedGradients(function)
    found = xig.attribute(x, target=1, n_steps=STEPS)
    expected = IntegratedGradients(function).attribute(x, target=1, n_steps=STEPS)
    assert xig.last_route == "hoisted"
    assert found.requires_grad == expected.requires_grad
    through, captums = (torch.autograd.grad(a.sum(), x)[0] for a in (found, expected))
    torch.testing.assert_close(through, captums, rtol=1e-6, atol=1e-9)
    assert x.grad is None


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_modes_of_autograd(mode: Callable[[], Any]) -> None:
    function, x = gelu_mlp(), rows()
    with mode():
        found = XIntegratedGradients(function).attribute(x, target=1, n_steps=STEPS)
    expected = IntegratedGradients(function).attribute(x, target=1, n_steps=STEPS)
    assert not found.requires_grad
    assert gap((found,), (expected,)) <= CLOSE


@pytest.mark.parametrize("how", ["hoisted", "bounded", "create_graph", "no_grad", "wrong"])
def test_nothing_of_the_callers_is_changed(how: str) -> None:
    net = nn.Sequential(gelu_mlp(), nn.Dropout(0.5), nn.BatchNorm1d(3).double()).eval()
    randomised(net)
    net[0][2].train()  # flags of parts need not be alike
    net[0][0].weight.requires_grad_(False)
    net[0][1].register_forward_hook(lambda module, given, result: None)
    x, baseline = rows().requires_grad_(), rows()
    net(x).sum().backward()
    xig = XIntegratedGradients(net)
    before = everything(net, x, baseline)
    more = {"bounded": {"internal_batch_size": 9}, "create_graph": {"create_graph": True}}
    with torch.set_grad_enabled(how != "no_grad"):
        for target in (1, 99) if how == "wrong" else (1, 2):
            with pytest.raises(IndexError) if target == 99 else nullcontext():
                xig.attribute(x, baseline, target, n_steps=STEPS, **more.get(how, {}))
                assert xig.last_route == "hoisted"
    assert differing(before, everything(net, x, baseline)) == []


NET = gelu_mlp()
"""One for all wrong calls: it is traced once."""


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_a_wrong_call_raises_what_captum_raises(name: str) -> None:
    wrong = WRONG_CALLS[name]
    function = wrong.wrap(NET)
    expected = outcome(IntegratedGradients(function), wrong)
    xig = XIntegratedGradients(function)
    found = outcome(xig, wrong)
    if isinstance(expected, Exception):
        assert type(found) is type(expected)
    else:
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9, equal_nan=True)
    with_graph = outcome(xig, wrong, create_graph=True)
    assert type(with_graph) is type(expected) or isinstance(expected, tuple | Tensor)


@pytest.mark.parametrize("steps", [2, STEPS])
def test_a_wrong_target_costs_the_next_call_nothing(steps: int) -> None:
    net, x = gelu_mlp(), rows()
    xig = XIntegratedGradients(net)
    with pytest.raises(IndexError):
        xig.attribute(x, target=99, n_steps=steps)
    right = XIntegratedGradients(gelu_mlp())
    for each in (xig, right):
        each.attribute(x, target=1, n_steps=steps)
    assert xig.last_route == right.last_route


def test_a_trunk_of_two_frontiers_with_one_unused_input() -> None:
    """An input without influence on the output: Captum raises, and so does this."""
    net = Chain(bias_free(6, 8), torch.sigmoid).double()

    def function(x: Tensor, y: Tensor) -> Tensor:
        return net(x)

    for method in (IntegratedGradients(function), XIntegratedGradients(function)):
        with pytest.raises(RuntimeError):
            method.attribute((rows(), rows()), target=1, n_steps=STEPS)
