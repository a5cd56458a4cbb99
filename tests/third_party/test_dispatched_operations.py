"""Every operation that networks of other packages were seen to dispatch has a rule, or a reason to have none.

The packages themselves are not needed: the page of the documentation is the list.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from dispatched_operations import known_of, rows_of

from captum_xdnn.proof import registry

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
ROWS = rows_of(PAGE.read_text(encoding="utf-8"))


def known_here(name: str) -> str | None:
    try:
        return known_of(name)
    except AttributeError:  # not in this release of torch, or torchvision is not installed
        return ROWS[name]


def test_each_operation_of_the_page_has_a_rule_or_a_reason() -> None:
    """And the page says what is known today; if not, run the script that it names again."""
    assert {name: known_here(name) for name in ROWS} == ROWS


def test_the_page_is_a_list_worth_having() -> None:
    ruled = [name for name in ROWS if name in registry.RULES]
    refused = [name for name, said in ROWS.items() if said.startswith("refused: ")]
    assert len(ROWS) > 200
    assert len(ruled) > 100
    assert len(refused) > 20
    assert "torchvision.nms.default" in ROWS


@pytest.mark.parametrize("name", ["aten.segment_reduce.default", "aten._softmax.default"])
def test_an_operation_that_loses_its_entry_is_found(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = registry.RULES if name in registry.RULES else registry.REFUSED
    said = known_of(name)
    monkeypatch.delitem(table, name)
    assert known_of(name) != said
