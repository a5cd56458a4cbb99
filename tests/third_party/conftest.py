"""Hoisting wherever it is possible: the networks here are so small that it would not pay."""

from __future__ import annotations

import pytest

from captum_xdnn.recording import steps
from captum_xdnn.routes import plan


@pytest.fixture(autouse=True)
def _always_hoisted(monkeypatch: pytest.MonkeyPatch) -> None:
    steps.forget()  # and with them what other tests measured and forbade
    monkeypatch.setattr(plan, "WORTH_IT", 0)
    monkeypatch.setattr(plan, "CERTAIN", 0)
