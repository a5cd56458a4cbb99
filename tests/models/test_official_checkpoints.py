"""The three official networks, from files of the official layouts."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoint_files import in_layout, thin_state, training_state
from torch import nn

from captum_xdnn.models import load_checkpoint, x_alexnet, x_resnet50, x_vgg16

X_MODELS = [x_alexnet, x_vgg16, x_resnet50]
# The regular AlexNet and VGG16 were trained with DataParallel around their features alone.
LAYOUTS = [(builder, False, "module") for builder in X_MODELS]
LAYOUTS += [(x_resnet50, True, "module")]
LAYOUTS += [(x_alexnet, True, "features.module"), (x_vgg16, True, "features.module")]


def _on_meta(builder: Callable[..., nn.Module], bias: bool) -> nn.Module:
    with torch.device("meta"):
        return builder(bias=bias).eval()


@pytest.mark.parametrize(("builder", "bias", "layout"), LAYOUTS)
def test_every_tensor_arrives(
    builder: Callable[..., nn.Module], bias: bool, layout: str, tmp_path: Path
) -> None:
    skeleton = _on_meta(builder, bias)
    state = thin_state(skeleton)
    path = tmp_path / "model_best.pth.tar"
    torch.save(training_state(skeleton, in_layout(skeleton, state, layout)), path)
    model = skeleton.to_empty(device="cpu")
    assert load_checkpoint(model, path).epoch == 97
    loaded = model.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("builder", [x_alexnet, x_resnet50])
def test_the_same_outputs(builder: Callable[..., nn.Module], bias: bool, tmp_path: Path) -> None:
    skeleton = _on_meta(builder, bias)
    state = thin_state(skeleton)
    path = tmp_path / "model_best.pth.tar"
    torch.save(in_layout(skeleton, state, "module"), path)
    model = _on_meta(builder, bias).to_empty(device="cpu")
    load_checkpoint(model, path)
    skeleton.load_state_dict(
        {name: value.contiguous() for name, value in state.items()}, assign=True
    )
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = skeleton(x)
        assert expected.any()
        torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("builder", X_MODELS)
def test_the_biased_checkpoint_is_refused(
    builder: Callable[..., nn.Module], tmp_path: Path
) -> None:
    biased = _on_meta(builder, True)
    path = tmp_path / "model_best.pth.tar"
    torch.save({"state_dict": in_layout(biased, thin_state(biased), "module")}, path)
    model = _on_meta(builder, False)
    with pytest.raises(RuntimeError) as caught:
        load_checkpoint(model, path)
    extra = [name for name in biased.state_dict() if name not in model.state_dict()]
    assert f"unexpected keys: {', '.join(extra)}\n" in str(caught.value)
    assert "build the model with bias=True" in str(caught.value)
