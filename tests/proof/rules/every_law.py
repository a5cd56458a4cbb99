"""All cases, by law, and how a test goes through the rows of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rules import (
    creation,
    elementwise,
    indexing,
    joining,
    linear,
    normalization,
    ordering,
    products,
    recurrent,
    refused,
)

LAWS = {
    module.__name__.rsplit(".", 1)[-1]: [c for c in module.CASES if c.exists()]
    for module in (
        joining, creation, normalization, linear, ordering, elementwise, products, recurrent, indexing,
        refused,
    )
}  # fmt: skip


PARAMETERS = [
    pytest.param(law, i, id=f"{law}-{i}-{c.op.removeprefix('aten.')}")
    for law, cases in LAWS.items()
    for i, c in enumerate(cases)
]


@contextmanager
def row(key: str) -> Iterator[None]:
    """Say in which row of the table it failed."""
    try:
        yield
    except AssertionError as error:
        message = f"in the row {key!r}: {error}"
        raise AssertionError(message) from error
