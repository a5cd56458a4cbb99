"""How often the engine traced, and how often it analysed, during a test."""

from __future__ import annotations

import pytest
from calls import Counter

from captum_xdnn.homogeneity import knowledge, tracing


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> Counter:
    counter = Counter(tracing.trace)
    monkeypatch.setattr(tracing, "trace", counter)
    return counter


@pytest.fixture
def analyses(monkeypatch: pytest.MonkeyPatch) -> Counter:
    counter = Counter(knowledge.analyse)
    monkeypatch.setattr(knowledge, "analyse", counter)
    return counter
