"""Inputs of every number of dimensions, from one number per example to a volume with channels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients
from layer_family import (
    CAPTUMS_WARNINGS,
    LAYER,
    Case,
    assert_same,
    ours,
    theirs,
)
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients

pytestmark = [pytest.mark.usefixtures("always_hoisted"), *CAPTUMS_WARNINGS]

LENGTHS = (2, 3, 2, 2)


def inputs_of(rank: int, batch: int) -> Tensor:
    return torch.rand(batch, *LENGTHS[: rank - 1], dtype=torch.float64) + 0.5


def summed(x: Tensor) -> Tensor:
    return x.flatten(1).sum(1) if x.dim() > 1 else x


FUNCTIONS: dict[str, Any] = {
    "single_pass": lambda x: summed((3 * x).relu()),
    "hoisted": lambda x: summed((3 * x).relu()).tanh(),
}


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("bound", [None, 2, 8])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("rank", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("route", FUNCTIONS)
def test_one_input(
    route: str, rank: int, batch: int, bound: int | None, *, create_graph: bool
) -> None:
    function, x = FUNCTIONS[route], inputs_of(rank, batch)
    xig = XIntegratedGradients(function)
    more = {} if bound is None else {"internal_batch_size": max(bound, batch)}
    found, delta = xig.attribute(
        x, return_convergence_delta=True, create_graph=create_graph, **more
    )
    expected, captums = IntegratedGradients(function).attribute(
        x, return_convergence_delta=True, **more
    )
    assert xig.last_route == route
    assert found.shape == x.shape
    torch.testing.assert_close(found.detach(), expected, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(delta.detach(), captums, rtol=0, atol=1e-6)


class OfTwoNumbers(nn.Module):
    """relu(relu(a) - 1 - relu(b)): what Captum's own tests explain, one number per example."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.ReLU(), nn.ReLU(), nn.ReLU()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.last(self.first(a) - 1 - self.second(b))


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("layer", ["first", "second", "last"])
@pytest.mark.parametrize("name", LAYER)
def test_layers_of_functions_of_two_numbers(name: str, layer: str, batch: int) -> None:
    model = OfTwoNumbers()
    a, b = 3 + torch.rand(batch).double(), torch.rand(batch).double()
    case = Case(model, getattr(model, layer), (a, b), more={"target": None})
    call = {"method": "gausslegendre", "n_steps": 20}
    assert_same(ours(name, case, **call)[0], theirs(name, case, **call), 1e-6)


@pytest.mark.parametrize("batch", [1, 4])
def test_functions_of_two_numbers(batch: int) -> None:
    model, x = OfTwoNumbers(), (3 + torch.rand(batch).double(), torch.rand(batch).double())
    xig = XIntegratedGradients(model)
    found = xig.attribute(x, n_steps=20)
    assert xig.last_route == "hoisted"
    expected = IntegratedGradients(model).attribute(x, n_steps=20)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
