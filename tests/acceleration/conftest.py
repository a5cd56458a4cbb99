"""No test knows what an earlier one traced, and each leaves Captum as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from accelerated_networks import BEFORE, in_place

from captum_xdnn import acceleration


@pytest.fixture(autouse=True)
def _no_memory_of_earlier_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "_FIRSTS", acceleration._Firsts())


@pytest.fixture(autouse=True)
def _undone_afterwards() -> Iterator[None]:
    assert in_place() == BEFORE
    yield
    assert in_place() == BEFORE
