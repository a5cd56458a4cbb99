"""The documentation builds without a warning; its reference, links, formulas and pictures are whole."""

from __future__ import annotations

import importlib
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

pytest.importorskip("sphinx")
pytest.importorskip("myst_nb")
pytest.importorskip("furo")
pytest.importorskip("sphinx-mathjax-offline")

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
    "dataset",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-E", "-W", "--keep-going", "docs", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


class Page(HTMLParser):
    """What a built page can be linked to at, links to, and loads."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value is not None}
        if "id" in values:
            self.anchors.add(values["id"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") in {"stylesheet", "icon"}:
            self.loads.append(values["href"])
        elif tag in {"script", "img"} and "src" in values:
            self.loads.append(values["src"])


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    """Each built page by its address within the site."""
    return {file.relative_to(site).as_posix(): Page(file) for file in site.rglob("*.html")}


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


def test_links_within_the_site_lead_to_a_page_and_a_place_on_it(
    site: Path, pages: dict[str, Page]
) -> None:
    broken, followed = [], 0
    for name, page in pages.items():
        for link in page.links:
            if urlsplit(link).scheme:
                continue
            path, _, anchor = unquote(urljoin(name, link)).partition("#")
            followed += bool(anchor)
            there = (site / path).exists()
            if there and anchor and path in pages:
                there = anchor in pages[path].anchors
            if not there:
                broken.append(f"{name}: {link}")
    assert broken == []
    assert followed > 100


def test_pages_load_nothing_from_elsewhere(site: Path, pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        for address in page.loads:
            assert not urlsplit(address).netloc, f"{name} loads {address}"
            path = unquote(urlsplit(urljoin(name, address)).path)
            assert (site / path).is_file(), f"{name} loads {address}"


def test_the_classes_link_to_captums(pages: dict[str, Page]) -> None:
    for address in (
        "integrated_gradients.html#captum.attr.IntegratedGradients",
        "layer.html#captum.attr.LayerConductance",
        "neuron.html#captum.attr.NeuronIntegratedGradients",
    ):
        assert f"https://captum.ai/api/{address}" in pages["api/attr.html"].links


def test_formulas_and_pictures(site: Path, pages: dict[str, Page]) -> None:
    how = (site / "how_it_works.html").read_text(encoding="utf-8")
    assert 'class="math' in how
    for name in ("how_it_works", "api/attr", "tutorials/12_your_own_op"):
        assert any("tex-svg.js" in address for address in pages[f"{name}.html"].loads)
    for name in ("tutorials/10_hoisting", "tutorials/7_against_captums_ig", "results", "index"):
        assert any("_images/" in address for address in pages[f"{name}.html"].loads)
