"""Writes into memory that two entries of a tensor share, or that is read as numbers of another dtype."""

from __future__ import annotations

from collections.abc import Callable

import captum.attr
import pytest
import torch
from torch import Tensor

from captum_xdnn import XIntegratedGradients, certify

X = 4 + 3 * torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
"""So large that every bend lies between the baseline and half of the ray, where completeness sees none."""


def windows(x: Tensor) -> Tensor:
    """Windows that overlap, of which the first is written."""
    shown = x.new_zeros(len(x), 8).unfold(1, 4, 2)
    shown[:, 0].sub_(1.0)
    for index in range(3):
        shown[:, index].add_(x[:, index])
    return shown[:, 1, :2]


def written_at_once(x: Tensor) -> Tensor:
    """Each of the windows is written, and so some entries twice."""
    memory = x.new_zeros(len(x), 6)
    memory[:, :4] += x[:, 0]
    memory.unfold(1, 4, 1).sub_(1.0)
    return memory[:, 2:4]


def expanded(x: Tensor) -> Tensor:
    shown = (x[:, 0] * 1).unsqueeze(1).expand(-1, 3, -1)
    shown[:, 0].sub_(1.0)
    return shown[:, 1]


def by_strides(x: Tensor) -> Tensor:
    shown = (x[:, 0] * 1).as_strided((len(x), 3, 2), (4, 1, 1))
    shown[:, 0].sub_(1.0)
    return shown[:, 1]


def table(x: Tensor) -> Tensor:
    shown = x.new_zeros(1, 1).expand(3, 1)
    shown[0].sub_(1.0)
    return x[:, 0] + shown[1]


OVERLAPPING = (windows, written_at_once, expanded, by_strides, table)


@pytest.mark.parametrize("written", OVERLAPPING)
def test_a_write_into_entries_that_share_memory(written: Callable[[Tensor], Tensor]) -> None:
    def bent(x: Tensor) -> Tensor:
        return torch.relu(written(x)).sum(1)

    def differing(x: Tensor) -> Tensor:
        bends = torch.relu(written(x))
        return bends[:, 0] - bends[:, 1]  # of which the constants cancel

    assert not certify(bent, X).homogeneous
    for function in (bent, differing):
        ours, theirs = XIntegratedGradients(function), captum.attr.IntegratedGradients(function)
        found, expected = (each.attribute(X, n_steps=200) for each in (ours, theirs))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)


def test_a_write_beside_entries_that_do_not_overlap_is_proved() -> None:
    def function(x: Tensor) -> Tensor:
        memory = x.new_zeros(len(x), 8)
        shown = memory.unfold(1, 4, 4)
        shown[:, 0].add_(x[:, 0])
        shown[:, 1].add_(x[:, 1])
        return torch.relu(shown[:, 1]).sum(1)

    assert certify(function, X).homogeneous


def _as_bits(x: Tensor) -> Tensor:
    memory = torch.zeros(len(x), 4, dtype=torch.float64)
    memory.view(torch.float32).copy_(x[:, 0].detach().repeat_interleave(2, 1))
    return (x[:, 0] * memory).sum(1)


def _as_whole_numbers(x: Tensor) -> Tensor:
    memory = torch.zeros(len(x), 4, dtype=torch.int64)
    memory.view(torch.float64).copy_(x[:, 0].detach())
    return (x[:, 0] * memory.double()).sum(1)


def _as_other_bits_of_a_part(x: Tensor) -> Tensor:
    memory = torch.zeros(len(x), 8, dtype=torch.float32)
    memory[:, 2:6].view(torch.int32).copy_(x[:, 0].detach())
    return (x[:, 0] * memory[:, 2:6].double()).sum(1)


def _truncated(x: Tensor) -> Tensor:
    memory = torch.zeros(len(x), 4, dtype=torch.float8_e5m2)
    memory.copy_(x[:, 0])
    return (x[:, 0] * memory.double()).sum(1)


@pytest.mark.parametrize(
    "function", [_as_bits, _as_whole_numbers, _as_other_bits_of_a_part, _truncated]
)
def test_numbers_that_are_written_as_others(function: Callable[[Tensor], Tensor]) -> None:
    assert not certify(function, X).homogeneous
