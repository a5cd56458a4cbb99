import doctest
import importlib
import pkgutil

import pytest

import captum_xdnn.nn


@pytest.mark.parametrize("name", [m.name for m in pkgutil.iter_modules(captum_xdnn.nn.__path__)])
def test_the_examples_in_the_documentation_run(name: str) -> None:
    module = importlib.import_module(f"captum_xdnn.nn.{name}")
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder().find(module):
        runner.run(example)
    results = runner.summarize(verbose=False)
    assert results.failed == 0
    assert results.attempted > 0
