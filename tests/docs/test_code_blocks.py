"""The Python of the README and of the documentation's pages runs, block after block, as it is."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^( *)```python\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[str]:
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [textwrap.dedent(code) for _, code in found]


WITH_BLOCKS = [page for page in PAGES if blocks(page)]


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, object] = {"__name__": "__main__"}
    for index, code in enumerate(blocks(page)):
        exec(compile(code, f"{page.name}, block {index}", "exec"), names)


def test_the_pages_that_show_code() -> None:
    assert {"README", "get_started", "migrating", "priors", "comparing", "converting"} <= {
        page.stem for page in WITH_BLOCKS
    }


LINK = re.compile(r"""\]\(([^)\s]+)\)|(?:src|href)=\\?"([^"\\]+)""")
LINKING = [*PAGES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "tutorials").glob("*.ipynb"))]


def anchors(page: Path) -> set[str]:
    """The places on a page that its headings make, named as GitHub and Sphinx name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


def place_of(page: Path, path: str) -> Path:
    """Where a link leads; the site has copies of the notebooks in a folder of its pages."""
    if page.parent == ROOT / "docs" and path.startswith("tutorials/"):
        return ROOT / path
    return page.parent / path if path else page


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for found in LINK.findall(page.read_text(encoding="utf-8")):
        target = next(filter(None, found))
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = place_of(page, path)
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_the_readme_has_a_picture() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert any(next(filter(None, found)).endswith(".png") for found in LINK.findall(readme))
