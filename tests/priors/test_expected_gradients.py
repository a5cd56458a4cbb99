"""Expected Gradients against its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slow_priors
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn.priors import expected_gradients


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()


def rows(batch: int) -> Tensor:
    return torch.randn(batch, 5, dtype=torch.float64)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("target", [1, [0, 2, 1], torch.tensor([2, 2, 0]), [(0,), (1,), (2,)]])
def test_the_definition(target: Any, count: int) -> None:
    net, x, references = network(), rows(3), rows(6)
    found = expected_gradients(
        net, x, references, target, count, generator=torch.Generator().manual_seed(1)
    )
    generator = torch.Generator().manual_seed(1)
    places = torch.randint(6, (3 * count,), generator=generator).reshape(3, count)
    alphas = torch.rand(3 * count, generator=generator).reshape(3, count)
    columns = torch.as_tensor(target).flatten().expand(3)
    for n in range(3):
        total = torch.zeros(5, dtype=torch.float64)
        for k in range(count):
            start = references[places[n, k]]
            point = (start + alphas[n, k].double() * (x[n] - start)).requires_grad_()
            (gradient,) = torch.autograd.grad(net(point)[columns[n]], point)
            total += (x[n] - start) * gradient
        assert_close(found[n], total / count)


def test_many_draws_from_one_reference_are_integrated_gradients() -> None:
    net, x, reference = network(), rows(2), rows(1)
    expected = IntegratedGradients(net).attribute(x, reference, target=0)
    found = expected_gradients(net, x, reference, 0, 20_000, create_graph=False)
    assert_close(found, expected, rtol=0, atol=0.02)
    assert not found.requires_grad


def test_it_can_be_trained_through() -> None:
    net, x, references = network(), rows(3), rows(4)
    weight = net[0].weight

    def loss() -> Tensor:
        generator = torch.Generator().manual_seed(2)
        return expected_gradients(net, x, references, 1, 2, generator=generator).square().sum()

    (gradient,) = torch.autograd.grad(loss(), weight)
    direction = torch.randn_like(weight)
    expected = slow_priors.slope(loss, weight, direction)
    assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-5)


def test_tuples_and_further_arguments() -> None:
    def function(a: Tensor, b: Tensor, scale: Tensor, power: int) -> Tensor:
        return (a * b[:, 0] * scale).sum(1) ** power

    a, b = rows(3), rows(3)[:, None]
    scale = rows(3)
    pools = (rows(1), rows(1)[:, None])
    found = expected_gradients(
        function, (a, b), pools, n_references=2, additional_forward_args=(scale, 1)
    )
    assert isinstance(found, tuple)
    assert [part.shape for part in found] == [a.shape, b.shape]
    more = expected_gradients(
        function, (a, b), pools, n_references=5000, additional_forward_args=(scale, 1)
    )
    gained = function(a, b, scale, 1) - function(*pools, scale, 1)
    assert_close(more[0].sum(1) + more[1].sum((1, 2)), gained, rtol=0, atol=0.2)


def test_without_a_graph_nothing_can_be_differentiated() -> None:
    x = rows(2).requires_grad_()
    found = expected_gradients(network(), x, rows(3), 0, create_graph=False)
    assert not found.requires_grad


def test_integers_of_any_kind_count_the_draws() -> None:
    found = expected_gradients(network(), rows(2), rows(3), 0, np.int64(3))
    assert found.shape == rows(2).shape


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        ({"references": torch.zeros(2, 4)}, ValueError, "do not match"),
        ({"references": [1.0]}, AssertionError, "references must be"),
        ({"inputs": 3.0}, AssertionError, "inputs must be"),
        ({"n_references": 0}, ValueError, "positive integer"),
        ({"n_references": 1.5}, ValueError, "positive integer"),
        ({"target": None}, AssertionError, "Target not provided"),
        ({"target": 7}, IndexError, "out of bounds"),
    ],
)
def test_wrong_calls(call: dict[str, Any], kind: type[Exception], said: str) -> None:
    whole = {"inputs": rows(2), "references": rows(2), "target": 0, **call}
    with pytest.raises(kind, match=said):
        expected_gradients(network(), **whole)
