from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import LAYOUTS, full_names, in_layout, training_state, write_checkpoint
from torch import Tensor, nn

from captum_xdnn.models import CheckpointFacts, XResNet, load_checkpoint, x_cnn_small
from captum_xdnn.models.resnet import BasicBlock

FACTS = CheckpointFacts(epoch=97, arch="xcnnsmall", best_acc1=56.5)


class _Convolution(nn.Sequential):
    """Like the ResNet a network without ``features``."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(1, 2, 3, bias=False))


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.items()}


def _trained() -> nn.Module:
    return x_cnn_small(weights="FASHION_MNIST").eval()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model_best.pth.tar"


def test_the_layouts_are_those_of_the_official_files() -> None:
    first = {layout: full_names(x_cnn_small(), layout)["features.0.weight"] for layout in LAYOUTS}
    assert first == {
        "module": "module.features.0.weight",
        "features.module": "features.module.0.weight",
        "plain": "features.0.weight",
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(layout: str, path: Path) -> None:
    trained, model = _trained(), x_cnn_small().eval()
    assert load_checkpoint(model, write_checkpoint(path, trained, layout)) == FACTS
    x = torch.rand(2, 1, 28, 28)
    torch.testing.assert_close(model(x), trained(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_bare_state_dict(layout: str, path: Path) -> None:
    trained, model = _trained(), x_cnn_small()
    torch.save(in_layout(trained, trained.state_dict(), layout), path)
    assert load_checkpoint(model, str(path)) == CheckpointFacts()
    torch.testing.assert_close(model.state_dict(), trained.state_dict())


def test_the_model_may_be_wrapped_too(path: Path) -> None:
    trained, model = _trained(), x_cnn_small()
    load_checkpoint(nn.DataParallel(model), write_checkpoint(path, trained, "features.module"))
    torch.testing.assert_close(
        {name: value.cpu() for name, value in model.state_dict().items()}, trained.state_dict()
    )


def test_momentum_and_the_metadata_of_a_state_dict(path: Path) -> None:
    trained, model = _trained(), x_cnn_small()
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.01, momentum=0.9)
    trained(torch.rand(2, 1, 28, 28)).sum().backward()
    optimizer.step()
    # An OrderedDict with _metadata, as PyTorch makes it and the training script saves it.
    state = nn.DataParallel(trained).state_dict()
    assert state._metadata
    torch.save(training_state(trained, state) | {"optimizer": optimizer.state_dict()}, path)
    assert load_checkpoint(model, path) == FACTS
    torch.testing.assert_close(model(torch.ones(1, 1, 28, 28)), trained(torch.ones(1, 1, 28, 28)))


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_a_gpu_are_read_without_one(
    zipped: bool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, model = _trained(), x_cnn_small()
    content = training_state(trained, in_layout(trained, trained.state_dict(), "module"))
    with monkeypatch.context() as context:
        # What torch.save writes beside the bytes of a tensor on the first GPU.
        context.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="deserialize object on a CUDA device"):
            torch.load(path, weights_only=True)
    assert load_checkpoint(model, path) == FACTS
    torch.testing.assert_close(model.state_dict(), trained.state_dict())


@pytest.mark.parametrize(
    ("said", "facts"),
    [
        ({}, CheckpointFacts()),
        ({"epoch": 3, "best_acc1": 0}, CheckpointFacts(epoch=3, best_acc1=0.0)),
        ({"best_acc1": torch.tensor([7.5])}, CheckpointFacts(best_acc1=7.5)),
        ({"epoch": None, "arch": 1, "best_acc1": "good"}, CheckpointFacts()),
    ],
)
def test_facts_that_are_not_said(said: dict[str, Any], facts: CheckpointFacts, path: Path) -> None:
    model = x_cnn_small()
    torch.save({"state_dict": model.state_dict(), **said}, path)
    assert load_checkpoint(model, path) == facts


def test_dtype_of_the_model_stays(path: Path) -> None:
    trained = _trained()
    model = x_cnn_small().double()
    load_checkpoint(model, write_checkpoint(path, trained, "module"))
    torch.testing.assert_close(model.state_dict(), trained.double().state_dict())


@pytest.mark.parametrize("bias", [False, True])
def test_the_twin_is_refused_with_advice_and_the_model_left_alone(bias: bool, path: Path) -> None:
    write_checkpoint(path, x_cnn_small(bias=not bias), "module")
    model = x_cnn_small(bias=bias)
    before = _copy(model.state_dict())
    with pytest.raises(RuntimeError) as caught:
        load_checkpoint(model, path)
    kind, other = ("missing", "with") if bias else ("unexpected", "with")
    names = "features.0.bias, features.3.bias, features.6.bias, classifier.bias"
    other = "without" if bias else "with"
    assert str(path) in str(caught.value)
    assert f"{kind} keys: {names}\n" in str(caught.value)
    assert f"network {other} biases: build the model with bias={not bias}" in str(caught.value)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("bias", [False, True])
def test_advice_for_fixups_biases_and_scales(bias: bool, path: Path) -> None:
    file = XResNet(BasicBlock, (1, 1, 1, 1), bias=not bias, num_classes=5)
    model = XResNet(BasicBlock, (1, 1, 1, 1), bias=bias, num_classes=5)
    torch.save(file.state_dict(), path)
    with pytest.raises(RuntimeError, match=rf"(?s)layer1.0.scale.*model with bias={not bias}"):
        load_checkpoint(model, path)


def test_another_architecture_is_refused_with_every_difference(path: Path) -> None:
    file = x_cnn_small(num_classes=3)
    file.head = nn.Linear(2, 2)
    del file.features[3]
    model = x_cnn_small()
    before = _copy(model.state_dict())
    with pytest.raises(RuntimeError) as caught:
        load_checkpoint(model, write_checkpoint(path, file, "plain"))
    assert str(caught.value).split("\n    ")[1:] == [
        "missing keys: features.3.weight, features.6.weight",
        "unexpected keys: features.5.weight, head.weight, head.bias",
        "other shapes: classifier.weight has (3, 3528), the model's has (10, 3528)",
    ]
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_names_that_differ_only_by_module(path: Path) -> None:
    model = _Convolution()
    weight = model.state_dict()["0.weight"]
    torch.save({"0.weight": weight, "module.0.weight": weight}, path)
    with pytest.raises(RuntimeError, match=r"differ only by 'module': 0\.weight"):
        load_checkpoint(model, path)
