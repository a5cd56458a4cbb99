import copy
import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoint_files import write_checkpoint
from file_server import serve
from torch import nn

from captum_xdnn.models import (
    X_AlexNet_Weights,
    X_ResNet18_Weights,
    X_ResNet50_Weights,
    X_VGG16_Weights,
    x_alexnet,
    x_resnet18,
    x_resnet50,
    x_vgg16,
)

FOLDER = (
    "https://download.visinf.tu-darmstadt.de/data/2021-neurips-fast-axiomatic-attribution/models/"
)
OFFICIAL = {
    X_AlexNet_Weights.IMAGENET1K_V1: ("xalexnet", 78.54),
    X_AlexNet_Weights.IMAGENET1K_V1_BIAS: ("alexnet", 79.21),
    X_VGG16_Weights.IMAGENET1K_V1: ("xvgg16", 90.25),
    X_VGG16_Weights.IMAGENET1K_V1_BIAS: ("vgg16", 90.44),
    X_ResNet50_Weights.IMAGENET1K_V1: ("xfixup_resnet50", 91.12),
    X_ResNet50_Weights.IMAGENET1K_V1_BIAS: ("fixup_resnet50", 92.56),
}
BUILDERS = {
    X_AlexNet_Weights: x_alexnet,
    X_VGG16_Weights: x_vgg16,
    X_ResNet50_Weights: x_resnet50,
}


@pytest.mark.parametrize("weights", OFFICIAL)
def test_address_and_reported_accuracy(weights: X_AlexNet_Weights) -> None:
    name, acc5 = OFFICIAL[weights]
    assert weights.url == f"{FOLDER}{name}_model_best.pth.tar"
    assert weights.meta["_metrics"] == {"ImageNet-1K": {"acc@5": acc5}}
    assert "reported by the authors" in weights.meta["metrics_source"]
    assert weights.meta["bias"] is weights.name.endswith("BIAS")
    assert weights.meta["sha256"] is None
    assert "not stated for the weights" in weights.meta["license"]


@pytest.mark.parametrize("enum", BUILDERS)
def test_the_default_is_without_biases(enum: type[X_AlexNet_Weights]) -> None:
    assert enum.DEFAULT is enum.IMAGENET1K_V1
    assert not enum.DEFAULT.meta["bias"]


def test_transforms_are_those_of_the_paper() -> None:
    pytest.importorskip("torchvision")
    preset = X_ResNet50_Weights.DEFAULT.transforms()
    assert preset.resize_size == [256]
    assert preset.crop_size == [224]
    grey = torch.full((3, 300, 280), 128, dtype=torch.uint8)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = ((128 / 255 - mean) / std)[:, None, None].expand(3, 224, 224)
    torch.testing.assert_close(preset(grey), expected)


def test_categories() -> None:
    pytest.importorskip("torchvision")
    categories = X_ResNet50_Weights.DEFAULT.meta["categories"]
    assert len(categories) == 1000
    assert categories[0] == "tench"


def test_without_torchvision_all_but_its_presets_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("torchvision", "torchvision.models"):
        monkeypatch.setitem(sys.modules, name, None)
    meta = X_ResNet50_Weights.DEFAULT.meta
    assert meta["categories"] is None
    assert meta["num_params"] == 25_502_912
    with pytest.raises(ModuleNotFoundError, match="torchvision"):
        X_ResNet50_Weights.DEFAULT.transforms()


@pytest.mark.parametrize("weights", OFFICIAL)
def test_weights_of_the_other_network_are_refused(weights: X_AlexNet_Weights) -> None:
    bias = weights.meta["bias"]
    other = next(other for other in type(weights) if other is not weights)
    with pytest.raises(ValueError, match=f"trained with bias={bias}") as caught:
        BUILDERS[type(weights)](weights=weights, bias=not bias)
    assert f"Pass bias={bias}, num_classes=1000, or weights={other!r} with bias={not bias}." in str(
        caught.value
    )


def test_another_number_of_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="num_classes=1000, and num_classes=10 was asked for"):
        x_resnet50(weights="DEFAULT", num_classes=10)


def test_where_nobody_has_published_any() -> None:
    assert list(X_ResNet18_Weights) == []
    with pytest.raises(KeyError, match=r"X_ResNet18_Weights has no weights 'DEFAULT'; .* nobody"):
        x_resnet18(weights="DEFAULT")


@pytest.mark.parametrize("weights", OFFICIAL)
def test_weights_are_values(weights: X_AlexNet_Weights) -> None:
    assert copy.deepcopy(weights) is weights
    assert pickle.loads(pickle.dumps(weights)) is weights
    assert repr(weights) == f"{type(weights).__name__}.{weights.name}"


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[nn.Module], Path]:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return lambda model: write_checkpoint(tmp_path / "file", model, "module")


@pytest.mark.parametrize("bias", [False, True])
def test_a_builder_downloads_and_loads(
    bias: bool,
    checkpoint: Callable[[nn.Module], Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    trained = x_resnet50(bias=bias)
    nn.init.normal_(trained.fc.weight)
    weights = X_ResNet50_Weights.IMAGENET1K_V1_BIAS if bias else X_ResNet50_Weights.IMAGENET1K_V1
    with serve() as server:
        server.files["x.pth.tar"] = checkpoint(trained).read_bytes()
        local = replace(weights.value, url=server.url("x.pth.tar"))
        monkeypatch.setattr(weights, "_value_", local)
        model = x_resnet50(weights=weights, bias=bias, progress=False)
    torch.testing.assert_close(model.state_dict(), trained.state_dict(), rtol=0, atol=0)
    assert capfd.readouterr().err == ""


def test_the_hash_is_checked_where_it_is_known(
    checkpoint: Callable[[nn.Module], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve() as server:
        server.files["x.pth.tar"] = checkpoint(nn.Linear(2, 2)).read_bytes()
        weights = X_ResNet50_Weights.DEFAULT
        local = replace(weights.value, url=server.url("x.pth.tar"), sha256=64 * "0")
        monkeypatch.setattr(weights, "_value_", local)
        with pytest.raises(RuntimeError, match="invalid hash"):
            weights.get_state_dict(progress=False)
        assert weights.get_state_dict(progress=False, check_hash=False).keys() == {"weight", "bias"}
        with pytest.raises(RuntimeError, match=r"X_ResNet50_Weights\.IMAGENET1K_V1 is of another"):
            x_resnet50(weights=weights)
