import doctest
import importlib
import pkgutil

import pytest

import captum_xdnn.convert

MODULES = [m.name for m in pkgutil.iter_modules(captum_xdnn.convert.__path__)]
WITH_EXAMPLES = {"initialisation", "to_xdnn"}


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_documentation_run(name: str) -> None:
    module = importlib.import_module(f"captum_xdnn.convert.{name}")
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder().find(module):
        runner.run(example)
    results = runner.summarize(verbose=False)
    assert results.failed == 0
    assert (results.attempted > 0) is (name in WITH_EXAMPLES)
