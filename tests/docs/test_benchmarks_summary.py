"""The summary of the benchmarks quotes the tables below it."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tests" / "benchmarks" / "summary.py"))


def test_it_is_up_to_date_and_opens_the_page(script: dict[str, Any]) -> None:
    assert PAGE.startswith(f"# Benchmarks\n\n{script['BEGIN']}\n")
    assert script["with_summary"](PAGE) == PAGE, (
        "run python tests/benchmarks/summary.py docs/benchmarks.md"
    )


def test_every_line_of_it_has_figures(script: dict[str, Any]) -> None:
    block = PAGE.partition(script["BEGIN"])[2].partition(script["END"])[0]
    lines = [line for line in block.splitlines() if line.startswith("| ")][1:]
    assert len(lines) == len(script["LINES"])
    assert all(re.search(r"\d+x", line) for line in lines)
    assert "first call" in block
    assert "training step" in block


def test_a_table_that_changes_changes_it(script: dict[str, Any]) -> None:
    assert "| LSTM, 500 rows | Captum's numbers | 1.94x |" in PAGE
    other = PAGE.replace("| LSTM, 20 steps, 500 rows | 1.94x", "| LSTM, 20 steps, 500 rows | 3.75x")
    changed = script["with_summary"](other)
    assert "| LSTM, 500 rows | Captum's numbers | 3.75x |" in changed


def test_the_least_and_the_largest(script: dict[str, Any]) -> None:
    rows = [("a 1", "9.5x"), ("a 2", "1,200x, within"), ("a 3", "33 points"), ("b", "2x")]
    assert script["ratios"](rows, "^a") == "9.5x to 1,200x"
    assert script["ratios"](rows, "^b") == "2x"
    assert script["ratios"](rows, "^c") == ""
