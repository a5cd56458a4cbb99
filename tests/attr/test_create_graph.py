"""Attributions that are trained through: their derivatives against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from bias_free_networks import (
    Normalised,
    Root,
    Squared,
    TwoInputs,
    affine_output,
    biased_mlp,
    conv_net,
    images,
    mlp,
    rows,
)
from captum.attr import IntegratedGradients
from references import path_integral
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import XIntegratedGradients

pytestmark = pytest.mark.usefixtures("always_hoisted")

NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Tensor, ...]], str]] = {
    "mlp": (mlp, lambda: (rows(),), "single_pass"),
    "degree 2": (Squared, lambda: (rows(),), "single_pass"),
    "degree 1/2": (Root, lambda: (rows(),), "single_pass"),
    "conv net": (conv_net, lambda: (images(2),), "single_pass"),
    "output bias": (affine_output, lambda: (rows(),), "single_pass"),
    "two inputs": (
        TwoInputs,
        lambda: (rows(), torch.randn(4, 2, 4, dtype=torch.float64)),
        "single_pass",
    ),
    "biases": (biased_mlp, lambda: (rows(),), "hoisted"),
}
STEPS = 6


def finite_difference(loss: Callable[[], float], tensor: Tensor, index: int) -> float:
    flat, h = tensor.data.view(-1), 1e-6
    value = float(flat[index])
    flat[index] = value + h
    above = loss()
    flat[index] = value - h
    below = loss()
    flat[index] = value
    return (above - below) / (2 * h)


def scored(attributions: tuple[Tensor, ...]) -> Tensor:
    """A nonlinear loss, so that every entry of the attributions has a weight of its own."""
    generator = torch.Generator().manual_seed(1)
    total = torch.zeros((), dtype=torch.float64)
    for attribution in attributions:
        weights = torch.rand(attribution.shape, generator=generator, dtype=torch.float64)
        total = total + (weights * attribution.abs()).sum() + (weights * attribution**2).sum()
    return total


def assert_derivatives(
    derivatives: tuple[Tensor | None, ...], tensors: list[Tensor], loss: Callable[[], float]
) -> None:
    assert any(d is not None and d.any() for d in derivatives)
    for derivative, tensor in zip(derivatives, tensors, strict=True):
        found = torch.zeros_like(tensor) if derivative is None else derivative
        for index in {0, tensor.numel() // 2, tensor.numel() - 1}:
            expected = finite_difference(loss, tensor, index)
            assert float(found.reshape(-1)[index]) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("internal_batch_size", [None, 3])
@pytest.mark.parametrize("no_grad", [False, True])
def test_derivatives_by_the_parameters(
    name: str, internal_batch_size: int | None, no_grad: bool
) -> None:
    build, data, route = NETWORKS[name]
    function, inputs = build(), data()
    xig = XIntegratedGradients(function)
    arguments: dict[str, Any] = {"target": 1, "n_steps": STEPS}
    with torch.no_grad() if no_grad else nullcontext():
        attributions = xig.attribute(
            inputs, **arguments, internal_batch_size=internal_batch_size, create_graph=True
        )
    assert xig.last_route == route
    parameters = list(function.parameters())
    derivatives = torch.autograd.grad(scored(attributions), parameters, allow_unused=True)

    def loss() -> float:
        if route == "single_pass":
            found = path_integral(
                function, inputs, (0,) * len(inputs), 1, steps=4, stretch=2 if "/" in name else 1
            )
        else:
            found = IntegratedGradients(function).attribute(inputs, **arguments)
        return float(scored(found))

    assert all(p.grad is None and p.requires_grad for p in parameters)
    assert_derivatives(derivatives, parameters, loss)


@pytest.mark.parametrize("name", ["mlp", "degree 2", "biases"])
@pytest.mark.parametrize("no_grad", [False, True])
def test_derivatives_by_the_inputs(name: str, no_grad: bool) -> None:
    build, data, route = NETWORKS[name]
    function, (x,) = build(), data()
    x.requires_grad_()
    xig = XIntegratedGradients(function)
    with torch.no_grad() if no_grad else nullcontext():
        attributions = xig.attribute((x,), target=1, n_steps=STEPS, create_graph=True)
    assert xig.last_route == route
    derivatives = torch.autograd.grad(scored(attributions), [x])

    def loss() -> float:
        with torch.no_grad():
            found = IntegratedGradients(function).attribute(x, target=1, n_steps=STEPS)
        return float(scored((found,)))

    assert_derivatives(derivatives, [x], loss)


@pytest.mark.parametrize("build", [Normalised, mlp])
def test_derivatives_by_the_baseline(build: Callable[[], nn.Module]) -> None:
    # The formula of the single pass holds at this baseline only, not in its neighbourhood.
    function, x = build(), rows()
    start = function.mean[None].clone() if build is Normalised else torch.zeros(1, 6).double()
    start.requires_grad_()
    xig = XIntegratedGradients(function)
    attributions = xig.attribute((x,), start, target=1, n_steps=STEPS, create_graph=True)
    derivatives = torch.autograd.grad(scored(attributions), [start])

    def loss() -> float:
        with torch.no_grad():
            found = IntegratedGradients(function).attribute(x, start, target=1, n_steps=STEPS)
        return float(scored((found,)))

    # A relu net has a kink at zero itself, so the difference quotient is taken off it.
    if build is mlp:
        assert xig.last_route == "captum"
    else:
        assert_derivatives(derivatives, [start], loss)


class Shifted(nn.Module):
    """Degree 2 as long as the shift is zero: F = (w x + b)^2."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3).double()
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).square()


def test_derivatives_by_a_bias_that_is_zero_now() -> None:
    # IG = w x (w x + 2 b) has the derivative 2 w x by b, where (1/2) x dF/dx would give w x.
    function, x = Shifted(), rows()
    xig = XIntegratedGradients(function)
    xig.attribute(x, target=1)
    assert xig.last_route == "single_pass"
    attributions = xig.attribute((x,), target=1, n_steps=STEPS, create_graph=True)
    parameters = list(function.parameters())
    derivatives = torch.autograd.grad(scored(attributions), parameters)

    def loss() -> float:
        return float(scored(path_integral(function, (x,), (0,), 1)))

    assert_derivatives(derivatives, parameters, loss)
    function.linear.bias.requires_grad_(False)
    xig.attribute(x, target=1, create_graph=True)
    assert xig.last_route == "single_pass"


@pytest.mark.parametrize("name", ["mlp", "biases"])
def test_the_mean_gradient_is_differentiable_too(name: str) -> None:
    build, data, route = NETWORKS[name]
    function, inputs = build(), data()
    xig = XIntegratedGradients(function, multiply_by_inputs=False)
    attributions = xig.attribute(inputs, target=1, n_steps=STEPS, create_graph=True)
    assert xig.last_route == route
    parameters = list(function.parameters())
    derivatives = torch.autograd.grad(scored(attributions), parameters, allow_unused=True)

    def loss() -> float:
        ig = IntegratedGradients(function, multiply_by_inputs=False)
        return float(scored(ig.attribute(inputs, target=1, n_steps=STEPS)))

    assert_derivatives(derivatives, parameters, loss)


@pytest.mark.parametrize("name", ["mlp", "output bias", "biases"])
def test_the_values_are_those_without_a_graph(name: str) -> None:
    build, data, route = NETWORKS[name]
    function, inputs = build(), data()
    xig = XIntegratedGradients(function)
    for size in (None, 5, 9):
        plain = xig.attribute(inputs, target=1, n_steps=STEPS, internal_batch_size=size)
        assert not plain[0].requires_grad
        graph = xig.attribute(
            inputs, target=1, n_steps=STEPS, internal_batch_size=size, create_graph=True
        )
        assert xig.last_route == route
        assert graph[0].requires_grad
        assert_close(graph[0].detach(), plain[0], rtol=1e-12, atol=1e-12)


def test_a_certificate_without_values_survives_training() -> None:
    function, x = mlp(), rows()
    xig = XIntegratedGradients(function)
    optimizer = torch.optim.SGD(function.parameters(), lr=1e-3)
    losses, certificates = [], []
    for _ in range(4):
        optimizer.zero_grad()
        loss = xig.attribute(x, target=1, create_graph=True).abs().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        certificates.append(xig.certificate)
    assert xig.last_route == "single_pass"
    assert all(certificate is certificates[0] for certificate in certificates)
    assert losses == sorted(losses, reverse=True)
