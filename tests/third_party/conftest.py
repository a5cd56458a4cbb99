"""Each test starts as a new process would: no function has come and gone before it."""

from __future__ import annotations

import pytest

from captum_xdnn import acceleration


@pytest.fixture(autouse=True)
def _no_memory_of_earlier_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "_FIRSTS", acceleration._Firsts())
