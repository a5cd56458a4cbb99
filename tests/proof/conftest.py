"""How often the engine proved something anew during a test."""

from __future__ import annotations

import pytest
from calls import Counter

from captum_xdnn.proof import watching
from captum_xdnn.recording import steps


@pytest.fixture
def proofs(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """Proofs since the test began, which begins without a known run."""
    steps.forget()
    counter = Counter(watching.prove)
    monkeypatch.setattr(watching, "prove", counter)
    return counter
