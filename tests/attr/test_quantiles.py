"""Quantiles, which torch finds in another way while its operations are shown: Captum's gradient all the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import nn
from torch.nn.functional import one_hot, pad

from captum_xdnn import XIntegratedGradients

SHARES = torch.tensor([0.3, 0.7], dtype=torch.float64)
FUNCTIONS = {
    "quantile": lambda x: x.quantile(0.3, 1),
    "by name": lambda x: torch.quantile(input=x, q=0.3, dim=1, interpolation="higher"),
    "nanquantile": lambda x: torch.nanquantile(x, 0.3, 1, keepdim=True)[:, 0],
    "several": lambda x: x.quantile(SHARES, 1).sum(0),
    "by operator": lambda x: torch.ops.aten.quantile(x, 0.7, 1),
    "by overload": lambda x: torch.ops.aten.nanquantile.default(x, SHARES, 1)[1],
    "of a trunk": lambda x: x.relu().quantile(0.6, -1) * 2,
    "under vmap": torch.vmap(lambda row: row.quantile(0.3)),
}


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("options", [{}, {"internal_batch_size": 4}])
def test_quantiles_of_equal_entries(name: str, size: int, options: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-1, 3, (size, 9), generator=generator).double()
    xig = XIntegratedGradients(FUNCTIONS[name])
    expected = IntegratedGradients(FUNCTIONS[name]).attribute(x, **options)
    for _ in range(2):
        torch.testing.assert_close(xig.attribute(x, **options), expected)
    assert xig.last_route == ("captum" if name == "under vmap" else "single_pass")


UNDER_VMAP = {
    "circular padding": lambda r: pad(r[None, None], (2, 2), "circular").square().sum(),
    "one-hot": lambda r: (one_hot(r.argmax(), 9) * r).sum(),
    "nanquantile": lambda r: r.nanquantile(0.4),
}


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("name", UNDER_VMAP)
def test_what_runs_as_a_whole_runs_under_vmap(name: str) -> None:
    function, x = torch.vmap(UNDER_VMAP[name]), torch.rand(2, 9, dtype=torch.float64)
    xig = XIntegratedGradients(function)
    expected = IntegratedGradients(function).attribute(x)
    torch.testing.assert_close(xig.attribute(x), expected)
    assert xig.last_route == "captum"


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("size", [1, 4])
def test_a_quantile_in_the_head_is_not_hoisted(size: int) -> None:
    torch.manual_seed(0)
    trunk = nn.Linear(6, 9, bias=False).double()
    function = lambda x: (trunk(x).round() + 1.0).quantile(0.3, 1)  # noqa: E731
    x, xig = torch.rand(size, 6, dtype=torch.float64), XIntegratedGradients(function)
    expected = IntegratedGradients(function).attribute(x)
    torch.testing.assert_close(xig.attribute(x), expected)
    assert xig.last_route == "captum"
