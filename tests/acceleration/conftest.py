"""Each test leaves Captum as it was; and hoists wherever it can: its networks are too small to gain."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from accelerated_networks import BEFORE, in_place

from captum_xdnn.recording import steps
from captum_xdnn.routes import plan


@pytest.fixture(autouse=True)
def _undone_afterwards() -> Iterator[None]:
    assert in_place() == BEFORE
    yield
    assert in_place() == BEFORE


@pytest.fixture(autouse=True)
def _always_hoisted(monkeypatch: pytest.MonkeyPatch) -> None:
    steps.forget()  # and with them what other tests measured and forbade
    monkeypatch.setattr(plan, "WORTH_IT", 0)
    monkeypatch.setattr(plan, "CERTAIN", 0)
