"""Each test leaves Captum as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from accelerated_networks import BEFORE, in_place


@pytest.fixture(autouse=True)
def _undone_afterwards() -> Iterator[None]:
    assert in_place() == BEFORE
    yield
    assert in_place() == BEFORE
