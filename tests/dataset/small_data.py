"""Data sets with something wrong in them, and the network that attributes them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

FEATURES, CLASSES = 6, 3


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(FEATURES, 16, bias=False), nn.ReLU(), nn.Linear(16, CLASSES, bias=False)
    )


def rows(count: int) -> Tensor:
    return torch.rand(count, FEATURES, generator=torch.Generator().manual_seed(2))


class Rows(Dataset[Any]):
    """Rows with labels; an item may be replaced by anything, or by an exception to raise."""

    def __init__(self, count: int, replaced: dict[int, Any] | None = None) -> None:
        self.rows, self.replaced = rows(count), replaced or {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        item = self.replaced.get(index, (self.rows[index], index % CLASSES))
        if isinstance(item, Exception):
            raise item
        return item


def with_nan() -> tuple[Tensor, int]:
    row = torch.ones(FEATURES)
    row[2], row[3] = torch.nan, torch.inf
    return row, 0


BAD: dict[int, tuple[Any, str]] = {
    3: (with_nan(), "input is not finite: 1 NaN, 1 infinite"),
    5: ((torch.ones(FEATURES + 1), 0), "input of shape (7,), others have (6,)"),
    8: ((torch.ones(FEATURES), None), "missing (None): no label?"),
    9: (OSError("truncated file\nmore"), "cannot be loaded: OSError: truncated file"),
    12: ((torch.ones(FEATURES), CLASSES), "label 3 is no index of an output among 3"),
    13: ((torch.ones(FEATURES), -1), "label -1 is no index of an output"),
    14: ((torch.ones(FEATURES), "shoe"), "labels must be a tensor of shape (1,)"),
    15: ((torch.ones(FEATURES), object()), "cannot be put into a batch: TypeError"),
}
"""A bad sample by index, and what is said of it."""


def bad_rows(count: int = 20) -> Rows:
    return Rows(count, {index: item for index, (item, _) in BAD.items()})
