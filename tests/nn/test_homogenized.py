"""``Homogenized``: the law y(a x) = a y(x), zero, the radius, and its arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from nonlinear_networks import EXAMPLES, gelu_net, nested, two_inputs
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.testing import assert_close

from captum_xdnn.nn import Homogenized


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor]:
    build, shape = EXAMPLES[request.param]
    return build(), torch.randn(4, *shape, dtype=torch.float64)


def _of_length(x: Tensor, length: float) -> Tensor:
    norms = x.flatten(1).norm(dim=1)
    return length * x / norms.view(-1, *(1,) * (x.dim() - 1))


@pytest.mark.parametrize("a", [0.0, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("radius", [1.0, 7.5])
def test_the_output_scales_with_the_input(
    example: tuple[nn.Module, Tensor], a: float, radius: float
) -> None:
    network, x = example
    homogenized = Homogenized(network, radius)
    whole = homogenized(x)
    assert whole.abs().max() > 1e-3
    assert_close(homogenized(a * x), a * whole, rtol=1e-12, atol=0)


def test_the_definition(example: tuple[nn.Module, Tensor]) -> None:
    network, x = example
    for radius in (1, 0.5, 20.0):
        rows = []
        for row in x:
            length = math.sqrt(math.fsum(v * v for v in row.flatten().tolist()))
            rows.append(length / radius * network((radius / length * row)[None])[0])
        assert_close(Homogenized(network, radius)(x), torch.stack(rows), rtol=1e-10, atol=1e-12)


def test_inputs_of_length_radius_give_the_networks_own_output(
    example: tuple[nn.Module, Tensor],
) -> None:
    network, x = example
    x = _of_length(x, 3.0)
    assert_close(Homogenized(network, 3.0)(x), network(x), rtol=1e-10, atol=1e-12)


@sdpa_kernel(SDPBackend.MATH)  # the others of attention cannot be differentiated twice
def test_zero_gives_exactly_zero_among_others(example: tuple[nn.Module, Tensor]) -> None:
    network, x = example
    x[1] = 0
    homogenized = Homogenized(network, 2.0)
    x.requires_grad_()
    y = homogenized(x)
    assert network(x)[1].abs().max() > 0
    assert not y[1].any()
    (gradient,) = torch.autograd.grad(y.square().sum() + y.sum(), x, create_graph=True)
    assert gradient[1].eq(0).all()
    assert gradient.isfinite().all()
    assert gradient[0].any()
    alone = homogenized(x[[0, 2, 3]])
    assert_close(y[[0, 2, 3]], alone, rtol=1e-10, atol=1e-12)
    further = torch.autograd.grad(gradient.square().sum(), [x, *network.parameters()])
    assert all(g.isfinite().all() for g in further)


def test_gradients() -> None:
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    for radius in (1.0, 4.0):
        homogenized = Homogenized(gelu_net(), radius)
        assert torch.autograd.gradcheck(homogenized, (x,))
        assert torch.autograd.gradgradcheck(homogenized, (x,))


def test_the_winning_class_is_the_networks_at_the_radius() -> None:
    network = gelu_net()
    x = _of_length(torch.randn(500, 6, dtype=torch.float64), 5.0)
    expected = network(x).argmax(1)
    assert len(expected.unique()) > 1
    for length in (0.01, 1.0, 300.0):
        found = Homogenized(network, 5.0)(length * x).argmax(1)
        assert torch.equal(found, expected)


def test_several_inputs_count_by_their_joint_length() -> None:
    network = two_inputs()
    x, y = (torch.randn(shape, dtype=torch.float64) for shape in ((4, 6), (4, 2, 4)))
    homogenized = Homogenized(network, 3.0, n_inputs=2)
    length = torch.cat([x, y.flatten(1)], 1).norm(dim=1)
    expected = length[:, None] / 3 * network(3 * x / length[:, None], 3 * y / length[:, None, None])
    assert_close(homogenized(x, y), expected, rtol=1e-10, atol=1e-12)
    assert_close(homogenized(1e3 * x, 1e3 * y), 1e3 * homogenized(x, y), rtol=1e-12, atol=0)
    both = torch.cat([x, y.flatten(1)], 1)[:1].clone().zero_()
    zero = homogenized(torch.cat([x, both[:, :6]]), torch.cat([y, both[:, 6:].view(1, 2, 4)]))
    assert not zero[4].any()


def test_further_arguments_are_handed_on() -> None:
    network = two_inputs()
    x, y = (torch.randn(shape, dtype=torch.float64) for shape in ((4, 6), (4, 2, 4)))
    for call in (lambda f: f(x, y, 0.1), lambda f: f(x, y, temperature=0.1)):
        homogenized = Homogenized(network, n_inputs=2)
        assert_close(call(homogenized), homogenized(x, y, 0.1), rtol=0, atol=0)
        assert (call(homogenized) - homogenized(x, y)).abs().max() > 1e-3
    assert_close(Homogenized(network)(2 * x, y), 2 * Homogenized(network)(x, y))


def test_every_tensor_of_a_nested_output_scales_but_no_class_index() -> None:
    network, x = nested(), torch.randn(4, 6, dtype=torch.float64)
    homogenized = Homogenized(network, 2.0)
    whole, scaled = homogenized(x), homogenized(10 * x)
    assert list(whole) == ["scores", "hidden"]
    assert_close(scaled["scores"], 10 * whole["scores"])
    assert_close(scaled["hidden"][0], 10 * whole["hidden"][0])
    for output in (whole, scaled):
        winner, nothing = output["hidden"][1]
        assert torch.equal(winner, whole["scores"].argmax(-1))
        assert nothing is None


@pytest.mark.parametrize("radius", [0, -1.0, math.inf, math.nan, "1", None, torch.ones(())])
def test_a_radius_that_is_no_positive_number(radius: Any) -> None:
    with pytest.raises(ValueError, match="radius must be a positive number, found"):
        Homogenized(nn.Identity(), radius)


def test_numbers_of_numpy() -> None:
    f = Homogenized(nn.Identity(), np.float32(2.0), np.int64(1))
    assert (f.radius, f.n_inputs) == (2.0, 1)
    assert "radius=2" in repr(f)


@pytest.mark.parametrize("n_inputs", [0, -1, 1.0, None])
def test_a_number_of_inputs_that_is_no_positive_integer(n_inputs: Any) -> None:
    with pytest.raises(ValueError, match="n_inputs must be a positive integer, found"):
        Homogenized(nn.Identity(), n_inputs=n_inputs)


X = torch.ones(2, 6, dtype=torch.float64)
WRONG_CALLS: dict[str, tuple[Callable[[nn.Module], Any], str]] = {
    "nothing": (lambda f: f(), "n_inputs = 2; found none"),
    "one of two": (lambda f: f(X), r"n_inputs = 2; found torch\.float64"),
    "by name": (lambda f: f(X, y=X), r"n_inputs = 2; found torch\.float64"),
    "a number": (lambda f: f(X, 1.0), r"found torch\.float64, float"),
    "whole numbers": (lambda f: f(X, X.long()), r"found torch\.float64, torch\.int64"),
    "complex": (lambda f: f(X, X.cfloat()), r"found torch\.float64, torch\.complex64"),
}


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_inputs_are_floating_point_tensors_by_position(name: str) -> None:
    call, message = WRONG_CALLS[name]
    with pytest.raises(TypeError, match=message):
        call(Homogenized(two_inputs(), n_inputs=2))


@pytest.mark.parametrize("inputs", [(X, X[:1]), (X[0, 0], X[0, 0])])
def test_inputs_without_one_batch_are_refused(inputs: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ValueError, match="dimension 0 of the inputs must be the batch"):
        Homogenized(two_inputs(), n_inputs=2)(*inputs)


class Total(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum()


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(0, keepdim=True)


@pytest.mark.parametrize("module", [Total(), Mean()])
def test_an_output_without_the_batch_is_refused(module: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"must be the batch of 2, found the shape \(1?,?.*\)"):
        Homogenized(module)(X)


@dataclass
class Scores:
    scores: Tensor


OTHER_OUTPUTS = {"dataclass": Scores, "array": Tensor.numpy, "number": lambda y: float(y.sum())}


@pytest.mark.parametrize("name", OTHER_OUTPUTS)
def test_an_output_whose_tensors_are_not_seen_is_refused(name: str) -> None:
    class Hidden(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return OTHER_OUTPUTS[name](x)

    with pytest.raises(TypeError, match=r"nesting of tensors; found a (Scores|ndarray|float)"):
        Homogenized(Hidden())(X)


def test_it_shows_its_radius_and_the_number_of_inputs() -> None:
    assert "radius=2.5\n" in repr(Homogenized(nn.Identity(), 2.5))
    assert "radius=1, n_inputs=2\n" in repr(Homogenized(nn.Identity(), n_inputs=2))
