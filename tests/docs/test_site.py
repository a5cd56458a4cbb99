"""The documentation builds without a warning, and its reference holds every public name."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx")
pytest.importorskip("myst_nb")
pytest.importorskip("furo")

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "attr",
    "homogeneity",
    "convert",
    "nn",
    "models",
    "priors",
    "metrics",
    "compare",
    "data",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-E", "-W", "--keep-going", "docs", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def inventory(site: Path) -> set[str]:
    """The names that the reference describes."""
    from sphinx.util.inventory import InventoryFile

    with (site / "objects.inv").open("rb") as file:
        found = InventoryFile.load(file, "", lambda base, uri: uri)
    domains = found.data if hasattr(found, "data") else found
    return {name for kind, names in domains.items() if kind.startswith("py:") for name in names}


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    described = {name.rsplit(".", 1)[-1] for name in inventory(site)}
    missing = []
    for package in ("captum_xdnn", *(f"captum_xdnn.{p}" for p in PACKAGES)):
        module = importlib.import_module(package)
        missing += [f"{package}.{n}" for n in module.__all__ if n not in described]
    assert [name for name in missing if not name.endswith("__version__")] == []


def test_pages_formulas_and_pictures(site: Path) -> None:
    how = (site / "how_it_works.html").read_text(encoding="utf-8")
    assert 'class="math' in how
    for name in ("5_hoisting", "3_against_captums_ig"):
        assert "<img" in (site / "tutorials" / f"{name}.html").read_text(encoding="utf-8")
    assert (site / "_images").is_dir()
