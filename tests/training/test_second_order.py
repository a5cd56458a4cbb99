"""Closing the first pass: the same derivatives, without the zeros."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.testing import assert_close
from trained_networks import BENT, PIECEWISE_LINEAR, perceptron, rows

from captum_xdnn import XIntegratedGradients
from captum_xdnn.proof.verdict import Verdict
from captum_xdnn.proof.watching import watch
from captum_xdnn.routes import single_pass

NETWORKS = PIECEWISE_LINEAR | BENT


@pytest.fixture
def closings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """An entry for each time the first pass was closed."""
    seen: list[int] = []
    close = single_pass.close_first_pass

    def counted(*arguments: Any) -> None:
        seen.append(1)
        close(*arguments)

    monkeypatch.setattr(single_pass, "close_first_pass", counted)
    return iter([seen])


def loss_of(attributions: Tensor) -> Tensor:
    weights = torch.linspace(0.5, 2, attributions.numel(), dtype=attributions.dtype)
    return (weights.reshape(attributions.shape) * attributions.square()).sum()


def expected_gradients_of(net: nn.Module, x: Tensor, target: int) -> tuple[Tensor | None, ...]:
    """By autograd alone, in the order of the parameters."""
    leaf = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(net(leaf)[:, target].sum(), leaf, create_graph=True)
    degree = 2 if net(2 * x).allclose(4 * net(x)) else 1
    loss = loss_of(gradient * x / degree)
    return torch.autograd.grad(loss, list(net.parameters()), allow_unused=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_derivatives_by_every_parameter_are_autograds(name: str, closings: Any) -> None:
    build, data = NETWORKS[name]
    net, x, seen = build(), data(), next(closings)
    xig = XIntegratedGradients(net, strategy="single_pass")
    attributions = xig.attribute(x, target=1, create_graph=True)
    found = torch.autograd.grad(loss_of(attributions), list(net.parameters()), allow_unused=True)
    assert bool(seen) == (name in PIECEWISE_LINEAR)
    for mine, theirs in zip(found, expected_gradients_of(net, x, 1), strict=True):
        zero = mine is None and (theirs is None or not theirs.any())
        assert zero or (mine is not None and theirs is not None)
        if not zero:
            assert_close(mine, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", PIECEWISE_LINEAR)
def test_nothing_goes_through_the_layers_of_the_first_pass(name: str) -> None:
    build, data = PIECEWISE_LINEAR[name]
    net, x = build(), data()
    met: list[Tensor] = []

    def note(module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        result.register_hook(met.append)

    linear = [module for module in net.modules() if isinstance(module, nn.Linear)]
    hooked = [p for module in linear for name, p in module.named_parameters() if name != "bias"]
    for module in linear:
        module.register_forward_hook(note)
    leaf = x.detach().requires_grad_()
    outputs = net(leaf)[:, 1]
    gradients = torch.autograd.grad(outputs.sum(), leaf, create_graph=True)
    assert len(met) >= 1
    met.clear()
    single_pass.close_first_pass(outputs, gradients, (leaf,))
    loss_of(gradients[0] * x).backward()
    assert all(gradient is None for gradient in met)
    assert all(p.grad is not None for p in hooked)


def test_a_loss_on_activations_that_were_kept_is_untouched() -> None:
    net, x, kept = perceptron(), rows(), []
    net[1].register_forward_hook(lambda module, given, result: kept.append(result))
    xig = XIntegratedGradients(net, strategy="single_pass")
    attributions = xig.attribute(x, target=1, create_graph=True)
    assert xig.last_route == "single_pass"
    activations = kept[-1]
    parameters = list(net.parameters())
    found = torch.autograd.grad(
        loss_of(attributions) + activations.square().sum(), parameters, retain_graph=True
    )
    prior = expected_gradients_of(net, x, 1)
    (penalty,) = torch.autograd.grad(torch.relu(net[0](x)).square().sum(), parameters[:1])
    assert penalty.any()
    assert_close(found[0], prior[0] + penalty, rtol=1e-12, atol=1e-14)
    for mine, theirs in zip(found[1:], prior[1:], strict=True):
        assert_close(mine, theirs, rtol=1e-12, atol=1e-14)


def test_inputs_that_are_computed_get_their_derivative() -> None:
    net, raw, embed = perceptron(), rows(), nn.Linear(6, 6, bias=False).double()
    xig = XIntegratedGradients(net, strategy="single_pass")
    attributions = xig.attribute(embed(raw), target=1, create_graph=True)
    (found,) = torch.autograd.grad(loss_of(attributions), embed.weight)
    x = embed(raw)
    (gradient,) = torch.autograd.grad(net(x)[:, 1].sum(), x, create_graph=True)
    (theirs,) = torch.autograd.grad(loss_of(gradient * x), embed.weight)
    assert_close(found, theirs, rtol=1e-12, atol=1e-14)


def test_a_third_derivative() -> None:
    net, x = perceptron(), rows()
    xig = XIntegratedGradients(net, strategy="single_pass")
    parameters = list(net.parameters())

    def third(attributions: Tensor) -> tuple[Tensor, ...]:
        first = torch.autograd.grad(loss_of(attributions), parameters, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), parameters)

    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(leaf)[:, 1].sum(), leaf, create_graph=True)
    expected = third(gradient * x)
    for mine, theirs in zip(
        third(xig.attribute(x, target=1, create_graph=True)), expected, strict=True
    ):
        assert_close(mine, theirs, rtol=1e-12, atol=1e-14)


def two_layers(between: Callable[[Tensor], Tensor]) -> nn.Module:
    class Between(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = (nn.Linear(6, 6, bias=False) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            return self.last(between(self.first(x)))

    return Between().double()


VERDICTS: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "relu": (torch.relu, True),
    "abs": (torch.abs, True),
    "clamp": (lambda h: h.clamp(-1, 2), True),
    "halves": (lambda h: torch.cat([h[:, :3] / 2, h[:, 3:].flip(1)], 1), True),
    "the larger": (lambda h: torch.maximum(h, 2 * h.roll(1, 1)), True),
    "where": (lambda h: torch.where(h > 0, h, 3 * h.mean(1, keepdim=True)), True),
    "sorted by gather": (lambda h: h.gather(1, h.argmax(1, keepdim=True).expand(-1, 6)), True),
    "lengths of complex numbers": (lambda h: torch.fft.fft(h).abs(), False),
    "a product with itself": (lambda h: h * h, False),
    "a product with another": (lambda h: h * h.abs(), False),
    "a quotient": (lambda h: h / (1 + h.abs()), False),
    "a constant over it": (lambda h: 1 / (1 + h.abs()), False),
    "its length": (lambda h: h.norm(dim=1, keepdim=True).expand(-1, 6), False),
    "softmax": (lambda h: h.softmax(1), False),
    "sigmoid": (torch.sigmoid, False),
    "its sign": (lambda h: torch.sign(h) * h, False),
    "a matrix with itself": (lambda h: h @ (h.T @ h), False),
}


def verdict_on(function: Callable[[Tensor], Tensor], x: Tensor) -> Verdict:
    found = watch(function, (x.detach().requires_grad_(),), (0,)).verdict
    assert found is not None
    return found


@pytest.mark.parametrize("name", VERDICTS)
def test_what_is_piecewise_linear(name: str) -> None:
    between, verdict = VERDICTS[name]
    net, x = two_layers(between), rows()
    assert verdict_on(net, x).is_piecewise_linear == verdict
    second = torch.autograd.functional.hessian(lambda row: net(row[None])[0, 1], x[0])
    if verdict:
        assert not second.any()
    elif name not in ("its sign", "a matrix with itself"):  # no rule; a batch of one
        assert second.any()


def test_a_weight_that_is_computed_from_the_input_is_none() -> None:
    net = parametrizations.weight_norm(nn.Linear(6, 3, bias=False).double())

    def scaled(x: Tensor) -> Tensor:
        return x @ (net.weight * x.abs().mean()).T

    assert not verdict_on(scaled, rows()).is_piecewise_linear
