"""Hoisting wherever it is possible: most networks here are so small that it would not pay."""

from __future__ import annotations

import pytest

from captum_xdnn.homogeneity import plan


@pytest.fixture
def always_hoisted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "WORTH_IT", 0)
