import doctest
import importlib
import pkgutil

import pytest

import captum_xdnn.models

MODULES = [module.name for module in pkgutil.iter_modules(captum_xdnn.models.__path__)]
WITHOUT = {
    "build",
    "bundled_weights",
    "downloads",
    "official_weights",
    "torchvision_registry",
    "train_x_cnn_small",
    "weights_enum",
}


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_documentation_run(name: str) -> None:
    module = importlib.import_module(f"captum_xdnn.models.{name}")
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder().find(module):
        runner.run(example)
    results = runner.summarize(verbose=False)
    assert results.failed == 0
    assert (results.attempted == 0) is (name in WITHOUT)
