"""The examples in the docstrings of the whole package run, and give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import captum_xdnn

ROOT = Path(captum_xdnn.__file__).parent
SOURCES = {
    ".".join(("captum_xdnn", *path.relative_to(ROOT).with_suffix("").parts)): path
    for path in sorted(ROOT.rglob("*.py"))
}
WITH_EXAMPLES = [n for n, path in SOURCES.items() if ">>> " in path.read_text(encoding="utf-8")]
EXPECTED = {
    "nn": {"channel_scale", "homogenized", "uncentered_batch_norm"},
    "convert": {"initialisation", "to_xdnn"},
    "priors": {"expected_gradients", "guidance", "smoothness", "sparsity"},
    "models": {
        "alexnet",
        "checkpoints",
        "fixup_resnet",
        "resnet",
        "unit_pixels",
        "vgg",
        "x_cnn_small",
    },
}
"""The modules that must have examples, by package."""


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_of_a_module_run(name: str) -> None:
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder().find(module):
        # What stands in for a method of Captum has Captum's docstring, whose example needs a model.
        if not example.name.rpartition(".")[2].startswith("_"):
            runner.run(example)
    results = runner.summarize(verbose=False)
    assert results.failed == 0
    assert results.attempted > 0


@pytest.mark.parametrize("package", EXPECTED)
def test_which_modules_have_examples(package: str) -> None:
    prefix = f"captum_xdnn.{package}."
    found = {name.removeprefix(prefix) for name in WITH_EXAMPLES if name.startswith(prefix)}
    assert found == EXPECTED[package]
