"""What torchvision knows of these models, whichever of the two packages is imported first."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import subprocess
import sys
import types
from collections.abc import Iterator

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
    torchvision_registry.register_once_torchvision_is_imported()
    assert torchvision.models.list_models(module=captum_xdnn.models) == NAMES


def test_a_name_that_is_taken() -> None:
    def x_vgg11() -> None: ...

    models = types.SimpleNamespace(
        WeightsEnum=torchvision.models.WeightsEnum,
        list_models=lambda: NAMES,
        get_model_builder=lambda name: x_vgg11 if name == "x_vgg11" else BUILDERS[0],
    )
    with pytest.warns(UserWarning, match=f"another model of the name x_vgg11, of {__name__}"):
        torchvision_registry.register(models)


def test_a_torchvision_that_cannot_register() -> None:
    with pytest.warns(UserWarning, match="could not register its models with torchvision"):
        torchvision_registry._register_or_warn(types.ModuleType("torchvision.models"))


@pytest.fixture
def watcher(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """As before the first import of torchvision.models; registering is only recorded."""
    monkeypatch.delitem(sys.modules, "torchvision.models")
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(torchvision_registry, "register", lambda models: None)
    torchvision_registry.register_once_torchvision_is_imported()
    return sys.meta_path[0]


def test_looking_for_torchvision_is_not_importing_it(watcher: object) -> None:
    assert importlib.util.find_spec("torchvision.models").name == "torchvision.models"
    assert importlib.util.find_spec("torchvision.nothing") is None
    assert watcher in sys.meta_path


def test_one_watcher_is_enough(watcher: object) -> None:
    before = list(sys.meta_path)
    torchvision_registry.register_once_torchvision_is_imported()
    assert sys.meta_path == before


def test_a_failing_import_fails_as_ever_and_may_be_repeated(
    watcher: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.find_spec("torchvision.models")
    monkeypatch.setattr(type(spec.loader._loader), "exec_module", _fail)
    with pytest.raises(ImportError, match="operator does not exist"):
        importlib.import_module("torchvision.models")
    assert watcher in sys.meta_path
    assert "torchvision.models" not in sys.modules


def _fail(loader: object, module: types.ModuleType) -> None:
    raise ImportError("operator does not exist")


IMPORTS = {
    "ours first": "import captum_xdnn.models, sys; assert 'torchvision' not in sys.modules\n"
    "import torchvision",
    "torchvision first": "import torchvision, captum_xdnn.models, sys",
}


@pytest.mark.parametrize("order", IMPORTS)
def test_order_of_the_imports(order: str) -> None:
    program = f"""{IMPORTS[order]}
models = torchvision.models
assert models.list_models(module=captum_xdnn.models) == {NAMES!r}
assert models.get_model_weights("x_resnet50") is captum_xdnn.models.X_ResNet50_Weights
assert not any("captum_xdnn" in type(finder).__module__ for finder in sys.meta_path)
assert "captum_xdnn" not in type(models.__loader__).__module__
assert models.__spec__.loader is models.__loader__
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
