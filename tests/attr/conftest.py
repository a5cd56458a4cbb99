"""Hoisting wherever it is possible, looks that are not free: most networks here are so small that neither would show."""

from __future__ import annotations

from typing import Any

import outside
import pytest

from captum_xdnn.recording import steps
from captum_xdnn.routes import choice, plan
from captum_xdnn.routes import looks as budget


@pytest.fixture
def always_hoisted(monkeypatch: pytest.MonkeyPatch) -> None:
    steps.forget()  # and with them what other tests measured and forbade
    monkeypatch.setattr(plan, "WORTH_IT", 0)
    monkeypatch.setattr(plan, "CERTAIN", 0)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the calls that were looked at."""
    of_runs = choice._of_runs
    outside.seen.clear()

    def noting(attempt: Any) -> Any:
        outside.seen.append(attempt.call.numel())
        return of_runs(attempt)

    monkeypatch.setattr(choice, "_of_runs", noting)
    monkeypatch.setattr(budget, "FREE", 0.0)
    return outside.seen
