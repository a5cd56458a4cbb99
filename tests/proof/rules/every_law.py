"""All cases, by law, and how a test goes through the rows of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pkgutil import iter_modules

import pytest

from captum_xdnn.proof import rules

FAMILIES = [f.name for f in iter_modules(rules.__path__) if f.name != "by_law"]
"""Each family of rules has its cases in a file of the same name."""

LAWS = {
    family: [c for c in import_module(f"rules.{family}").CASES if c.exists()] for family in FAMILIES
}


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
