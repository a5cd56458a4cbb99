"""Whether a run is planned to be hoisted whose values decide how many entries a tensor has."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from recorder import record
from torch import Tensor

from captum_xdnn.routes.plan import plan_of

W, B = torch.randn(6, 6), torch.randn(6)


def _in_the_middle(x: Tensor) -> Tensor:
    return torch.tanh(x @ W + B)


def _summed(z: Tensor, chosen: Tensor) -> Tensor:
    return chosen.sum().reshape(1) + z.sum(1)


def by_a_mask_of_the_head(x: Tensor) -> Tensor:
    z = _in_the_middle(x)
    return _summed(z, z[z > 0])


def by_a_mask_of_the_trunk(x: Tensor) -> Tensor:
    z = _in_the_middle(x)
    return _summed(z, z[x @ W > 0])


def by_places(x: Tensor) -> Tensor:
    z = _in_the_middle(x)
    return z[torch.arange(len(x)), z.argmax(1)]


def by_nonzero(x: Tensor) -> Tensor:
    z = _in_the_middle(x)
    rows, columns = (z > 0).nonzero().unbind(1)
    return _summed(z, z[rows, columns])


def by_masked_select(x: Tensor) -> Tensor:
    z = _in_the_middle(x)
    return _summed(z, z.masked_select(z > 0))


@pytest.mark.parametrize(
    ("function", "planned"),
    [
        (by_a_mask_of_the_head, False),  # another number of entries at each step
        (by_a_mask_of_the_trunk, True),
        (by_places, True),
        (by_nonzero, False),
        (by_masked_select, False),
    ],
)
def test_a_head_whose_values_decide_sizes_is_not_hoisted(
    function: Callable[[Tensor], Tensor], planned: bool
) -> None:
    verdict = record(function, (torch.randn(3, 6),)).verdict
    assert verdict is not None
    assert (plan_of(verdict) is not None) == planned
