"""What torchvision knows of these models, whichever of the two packages is imported first."""

from __future__ import annotations

import inspect
import subprocess
import sys
import types

import pytest
import torch

import captum_xdnn.models
from captum_xdnn.models import torchvision_registry
from captum_xdnn.models.pretrained import XWeightsEnum

torchvision = pytest.importorskip("torchvision")
PUBLIC = {name: getattr(captum_xdnn.models, name) for name in captum_xdnn.models.__all__}
BUILDERS = [public for name, public in PUBLIC.items() if name.startswith("x_")]
WEIGHTS = [public for name, public in PUBLIC.items() if name.endswith("_Weights")]
NAMES = sorted(builder.__name__ for builder in BUILDERS)


def test_every_builder_has_its_enum() -> None:
    assert len(BUILDERS) == 11
    assert {f"{name}_weights" for name in NAMES} == {enum.__name__.lower() for enum in WEIGHTS}


def test_list_models() -> None:
    assert torchvision.models.list_models(module=captum_xdnn.models) == NAMES
    assert set(NAMES) <= set(torchvision.models.list_models())


@pytest.mark.parametrize("name", NAMES)
def test_get_model(name: str) -> None:
    with torch.device("meta"):
        model = torchvision.models.get_model(name, weights=None, num_classes=3, bias=True)
    assert any("bias" in key for key in model.state_dict())
    assert torchvision.models.get_model_builder(name) is getattr(captum_xdnn.models, name)


def test_get_model_with_weights() -> None:
    model = torchvision.models.get_model("x_cnn_small", weights="DEFAULT")
    weights = torchvision.models.get_weight("X_CNN_Small_Weights.FASHION_MNIST")
    torch.testing.assert_close(model.state_dict(), weights.get_state_dict(check_hash=True))
    torch.testing.assert_close(torch.hub.load_state_dict_from_url(weights.url), model.state_dict())


@pytest.mark.parametrize("builder", BUILDERS)
def test_get_model_weights(builder: types.FunctionType) -> None:
    weights = torchvision.models.get_model_weights(builder.__name__)
    assert weights is torchvision.models.get_model_weights(builder)
    assert weights in WEIGHTS
    assert issubclass(weights, torchvision.models.WeightsEnum)
    assert all(isinstance(member, torchvision.models.WeightsEnum) for member in weights)
    assert weights.verify.__func__ is XWeightsEnum.verify.__func__


@pytest.mark.parametrize("weights", [member for enum in WEIGHTS for member in enum])
def test_get_weight(weights: XWeightsEnum) -> None:
    assert torchvision.models.get_weight(repr(weights)) is weights
    theirs = torchvision.models.AlexNet_Weights.DEFAULT.meta
    assert {key for key in theirs if not key.startswith("_")} <= weights.meta.keys()


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_builder_takes_what_those_of_torchvision_take(builder: types.FunctionType) -> None:
    parameters = inspect.signature(builder).parameters
    assert {"weights", "progress", "num_classes"} <= parameters.keys()
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters.values())
    assert parameters["bias"].default is False


def test_registering_again_changes_nothing() -> None:
    torchvision_registry.register(PUBLIC)
    assert torchvision.models.list_models(module=captum_xdnn.models) == NAMES


def test_a_name_that_is_taken() -> None:
    def x_vgg11() -> None: ...

    models = types.SimpleNamespace(
        list_models=lambda: NAMES,
        get_model_builder=lambda name: x_vgg11 if name == "x_vgg11" else BUILDERS[0],
    )
    with pytest.warns(UserWarning, match=f"another model of the name x_vgg11, of {__name__}"):
        torchvision_registry.register(PUBLIC, models)


def test_a_torchvision_that_cannot_register() -> None:
    with pytest.warns(UserWarning, match="could not register its models with torchvision"):
        torchvision_registry.register(PUBLIC, types.ModuleType("torchvision.models"))


@pytest.mark.parametrize("why", ["it is not installed", "it was made for another torch"])
def test_without_torchvision(why: str) -> None:
    error = "ImportError" if why == "it is not installed" else "RuntimeError"
    program = f"""
import sys
class Broken:
    def find_spec(self, name, *_):
        if name == "torchvision": raise {error}({why!r})
sys.meta_path.insert(0, Broken())
import captum_xdnn.models as models
assert models.x_cnn_small(weights="FASHION_MNIST") is not None
assert models.X_CNN_Small_Weights.FASHION_MNIST.url
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


@pytest.mark.parametrize(
    "order", ["captum_xdnn.models, torchvision", "torchvision, captum_xdnn.models"]
)
def test_order_of_the_imports(order: str) -> None:
    program = f"""import {order}, sys
finders = [type(finder).__module__ for finder in sys.meta_path if not isinstance(finder, type)]
assert not any("captum_xdnn" in name for name in finders)
models = torchvision.models
assert models.list_models(module=captum_xdnn.models) == {NAMES!r}
assert models.get_model_weights("x_resnet50") is captum_xdnn.models.X_ResNet50_Weights
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_the_package_itself_imports_neither() -> None:
    program = "import captum_xdnn, sys; assert 'captum_xdnn.models' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
