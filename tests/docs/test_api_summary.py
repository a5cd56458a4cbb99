"""docs/llms.txt says what is public now."""

from __future__ import annotations

import importlib

import pytest
from api_summary import FILE, modules, summary

pytest.importorskip("torchvision")


def test_the_summary_is_up_to_date() -> None:
    assert FILE.read_text(encoding="utf-8") == summary(), "run python tests/docs/api_summary.py"


@pytest.mark.parametrize("name", modules())
def test_each_public_name_is_in_it(name: str) -> None:
    _, _, section = FILE.read_text(encoding="utf-8").partition(f"## `{name}`\n")
    section = section.partition("\n## ")[0]
    public = set(importlib.import_module(name).__all__) - {"__version__"}
    assert public
    for one in public:
        assert any(f"- `{one}{after}" in section for after in "(`:"), one
