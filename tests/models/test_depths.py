"""The depths that nobody has published weights of: their builders and enums are made, not written."""

import doctest
import inspect
import pickle
import types
from collections.abc import Callable

import pytest
from torch import nn

import captum_xdnn.models
from captum_xdnn.models import x_resnet50, x_vgg16

MADE = [("x_vgg", depth, x_vgg16) for depth in (11, 13, 19)]
MADE += [("x_resnet", depth, x_resnet50) for depth in (18, 34, 101, 152)]
NAMES = [f"{family}{depth}" for family, depth, _ in MADE]
TITLES = {"x_vgg": "Build X-VGG{}, or with", "x_resnet": "Build X-ResNet-{}, or with"}
ENUMS = {"x_vgg": "X_VGG{}_Weights", "x_resnet": "X_ResNet{}_Weights"}


@pytest.mark.parametrize(("family", "depth", "written"), MADE)
def test_named_and_documented_like_the_builder_that_is_written(
    family: str, depth: int, written: types.FunctionType
) -> None:
    builder = getattr(captum_xdnn.models, f"{family}{depth}")
    assert builder.__name__ == builder.__qualname__ == f"{family}{depth}"
    assert builder.__module__ == written.__module__
    assert builder.__doc__.startswith(TITLES[family].format(depth))
    theirs, ours = inspect.signature(written).parameters, inspect.signature(builder).parameters
    enum = getattr(captum_xdnn.models, ENUMS[family].format(depth))
    assert list(enum) == []
    weights = theirs["weights"].replace(annotation=enum | str | None)
    assert list(ours.items()) == list({**theirs, "weights": weights}.items())


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_run(name: str) -> None:
    builder = getattr(captum_xdnn.models, name)
    enum = inspect.signature(builder).parameters["weights"].annotation.__args__[0]
    runner = doctest.DocTestRunner()
    for public in (builder, enum):
        globs = {public.__name__: public}
        for example in doctest.DocTestFinder().find(public, globs=globs):
            runner.run(example)
    results = runner.summarize(verbose=False)
    assert results.failed == 0
    assert results.attempted == 4


@pytest.mark.parametrize("name", NAMES)
def test_pickled_by_name(name: str) -> None:
    builder: Callable[..., nn.Module] = getattr(captum_xdnn.models, name)
    enum = inspect.signature(builder).parameters["weights"].annotation.__args__[0]
    assert pickle.loads(pickle.dumps((builder, enum))) == (builder, enum)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_argument_is_refused(name: str) -> None:
    builder = getattr(captum_xdnn.models, name)
    with pytest.raises(TypeError, match="unexpected keyword argument 'depth'"):
        builder(depth=3)
    with pytest.raises(TypeError, match=f"{name}\\(\\) takes 0 positional arguments"):
        builder(None)
