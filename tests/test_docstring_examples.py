"""The examples in the docstrings of the whole package run, and give what they say."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import captum_xdnn

ROOT = Path(captum_xdnn.__file__).parent
SOURCES = {
    ".".join(("captum_xdnn", *path.relative_to(ROOT).with_suffix("").parts)): path
    for path in sorted(ROOT.rglob("*.py"))
}
# What this one writes into the docstrings of what it makes is run by tests/models/test_depths.py.
del SOURCES["captum_xdnn.models.builders"]
WITH_EXAMPLES = [n for n, path in SOURCES.items() if ">>> " in path.read_text(encoding="utf-8")]
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
    "export",
)
NEEDED = {"captum_xdnn.ray": "ray.data"}
"""What a package needs that is not installed with this one."""


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_of_a_module_run(name: str) -> None:
    for package, needed in NEEDED.items():
        if name.startswith(package):
            pytest.importorskip(needed)
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder().find(module):
        # What stands in for a method of Captum has Captum's docstring, whose example needs a model.
        if not example.name.rpartition(".")[2].startswith("_"):
            runner.run(example)
    results = runner.summarize(verbose=False)
    assert results.failed == 0
    assert results.attempted > 0


@pytest.mark.parametrize("package", ["captum_xdnn", *(f"captum_xdnn.{p}" for p in PACKAGES)])
def test_every_public_name_has_an_example(package: str) -> None:
    module = importlib.import_module(package)
    public = {name: getattr(module, name) for name in module.__all__}
    described = {n: inspect.getdoc(o) or "" for n, o in public.items() if callable(o)}
    assert described
    assert [name for name, text in described.items() if ">>> " not in text] == []
