"""How Sphinx builds the documentation: ``sphinx-build -W docs DIR``."""

from __future__ import annotations

import importlib.util
import shutil
import urllib.request
from pathlib import Path
from typing import Any

import captum.attr
from docutils import nodes

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
html_favicon = "favicon.svg"
html_extra_path = ["llms.txt"]

# MathJax 3.2.2 with its fonts in one file, served with the pages: formulas need no network.
_MATHJAX = Path(str(importlib.import_module("sphinx-mathjax-offline").__file__)).parent
html_static_path = [str(_MATHJAX / "static" / "mathjax" / "tex-svg.js")]
mathjax_path = "tex-svg.js"

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
# The notebooks are run by their test; the pages show the outputs that are committed with them.
nb_execution_mode = "off"
nb_merge_streams = True

# The page on Ray needs no Ray, which is large.
autodoc_mock_imports = [] if importlib.util.find_spec("ray") else ["ray"]
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
}
# Without a network the pages are the same, without links into these two.
intersphinx_mapping = {
    name: (address, None)
    for name, address in _OTHERS.items()
    if _reachable(f"{address}objects.inv")
}

# Captum publishes its reference without an inventory: the page of each class that ours derive from.
_CAPTUMS = {
    captum.attr.IntegratedGradients: "integrated_gradients",
    captum.attr.LayerIntegratedGradients: "layer",
    captum.attr.LayerConductance: "layer",
    captum.attr.InternalInfluence: "layer",
    captum.attr.NeuronIntegratedGradients: "neuron",
    captum.attr.NeuronConductance: "neuron",
}
_CAPTUMS_PAGES = {
    name: f"https://captum.ai/api/{page}.html#captum.attr.{kind.__name__}"
    for kind, page in _CAPTUMS.items()
    for name in (f"captum.attr.{kind.__name__}", f"{kind.__module__}.{kind.__name__}")
}


def _link(_app: Any, _env: Any, node: Any, text: Any) -> nodes.reference | None:
    """A link into Captum's reference; torch's names as torch's inventory has them."""
    name = node.get("reftarget")
    if address := _CAPTUMS_PAGES.get(name):
        return nodes.reference("", "", text, refuri=address, internal=False)
    if name == "torch.nn.modules.module.Module":
        node["reftarget"] = "torch.nn.Module"
    return None


def _public_bases(_app: Any, _name: Any, _kind: Any, _options: Any, bases: list[Any]) -> None:
    """What a class derives from, as far as a user can meet it."""
    bases[:] = [base for base in bases if not base.__module__.startswith("captum_xdnn.attr.")]


def _copy_notebooks() -> None:
    """Put the notebooks beside the pages: Sphinx reads nothing outside of its folder."""
    here = Path(__file__).parent
    copies = here / "tutorials"
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir()
    for notebook in (here.parent / "tutorials").glob("*.ipynb"):
        text = notebook.read_text(encoding="utf-8").replace("](../docs/", "](../")
        (copies / notebook.name).write_text(text, encoding="utf-8")


def setup(app: Any) -> None:
    """Called by Sphinx."""
    _copy_notebooks()
    app.connect("missing-reference", _link, priority=400)  # before intersphinx
    app.connect("autodoc-process-bases", _public_bases)
