"""Operations on lists of tensors: as quick as others where they are known, and told from other lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import Tensor
from torch.testing import assert_close

from captum_xdnn import XIntegratedGradients
from captum_xdnn.recording import steps
from captum_xdnn.recording.watch import Tape

ROWS = torch.rand(5, 3, dtype=torch.float64) + 0.5
HELD = {5: ROWS, 250: ROWS.repeat(50, 1)}
MORE = {size: rows + 1 for size, rows in HELD.items()}
"""Tensors that no run computes, in Captum's sizes."""


LISTS: dict[str, tuple[Callable[[Tensor], list[Tensor]], Callable[[Tensor], list[Tensor]]]] = {
    "another order": (lambda x: [x, x * 3], lambda x: [x * 3, x]),
    "longer": (lambda x: [x, x * 2], lambda x: [x, x * 2, x]),
    "shorter": (lambda x: [x, x * 2, x], lambda x: [x, x * 2]),
    "a source": (lambda x: [x, x], lambda x: [x, HELD[len(x)]]),
    "another source": (lambda x: [x, HELD[len(x)]], lambda x: [x, MORE[len(x)]]),
    "no source": (lambda x: [HELD[len(x)], x], lambda x: [x, x]),
    "a number of another kind": (lambda x: [x, x * 2], lambda x: [x, x * 2.0]),
    "a square": (lambda x: [x, x * 2], lambda x: [x, x * x]),
    "written meanwhile": (lambda x: [y := x * 2, y], lambda x: [y := x * 2, y.add_(x)]),
}


@pytest.mark.parametrize("joined", [torch.cat, torch.stack], ids=["cat", "stack"])
@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_other_tensors_is_another_run(name: str, joined: Callable[..., Tensor]) -> None:
    chosen = LISTS[name][0]

    def function(x: Tensor) -> Tensor:
        return joined(chosen(x), 1).flatten(1).square().sum(1) + 0.5 * x[:, 0]

    x = torch.rand(5, 3, dtype=torch.float64) + 0.5
    xig = XIntegratedGradients(function)
    for number in (0, 0, 1, 1, 0):
        chosen = LISTS[name][number]
        expected = IntegratedGradients(function).attribute(x)
        assert_close(xig.attribute(x), expected)


@pytest.mark.parametrize("joined", [torch.cat, torch.stack], ids=["cat", "stack"])
@pytest.mark.parametrize("source", [False, True])
def test_a_list_that_is_known_goes_the_short_way(
    joined: Callable[..., Tensor], source: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps.forget()  # of several runs that begin alike the first alone goes the short way
    new: list[str] = []

    def run_new(tape: Tape, op: Any, *given: Any) -> Any:
        new.append(str(op))
        return known(tape, op, *given)

    known = Tape._run_new
    monkeypatch.setattr(Tape, "_run_new", run_new)
    row = torch.rand(4, 7)
    function = lambda x: joined([x, row if source else x * 2, x], 1).flatten(1).sum(1)  # noqa: E731
    xig = XIntegratedGradients(function)
    xig.attribute(torch.rand(4, 7))
    assert any(joined.__name__ in op for op in new)
    new.clear()
    xig.attribute(torch.rand(4, 7))
    assert new == []
