"""How Sphinx builds the documentation: ``sphinx-build -W docs DIR``."""

from __future__ import annotations

import shutil
import urllib.request
from pathlib import Path

import captum_xdnn

project = "captum-xdnn"
author = "the captum-xdnn authors"
copyright = author
version = release = captum_xdnn.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "captum-xdnn"

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
# The notebooks are run by their test; the pages show the outputs that are committed with them.
nb_execution_mode = "off"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_custom_sections = [("Source", "params_style"), "Source"]
napoleon_use_rtype = False


def _reachable(inventory: str) -> bool:
    try:
        with urllib.request.urlopen(inventory, timeout=5):
            return True
    except OSError:
        return False


_OTHERS = {
    "python": "https://docs.python.org/3/",
    "torch": "https://docs.pytorch.org/docs/stable/",
    "captum": "https://captum.ai/api/",
}
# Without a network the pages are the same, without links into other documentations.
intersphinx_mapping = {
    name: (address, None)
    for name, address in _OTHERS.items()
    if _reachable(f"{address}objects.inv")
}


def _copy_notebooks() -> None:
    """Put the notebooks beside the pages: Sphinx reads nothing outside of its folder."""
    here = Path(__file__).parent
    copies = here / "tutorials"
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir()
    for notebook in (here.parent / "tutorials").glob("*.ipynb"):
        text = notebook.read_text(encoding="utf-8").replace("](../docs/", "](../")
        (copies / notebook.name).write_text(text, encoding="utf-8")


_copy_notebooks()
