import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, max_pool2d, relu

from captum_xdnn import XIntegratedGradients, certify
from captum_xdnn.models import (
    X_ResNet50_Weights,
    XResNet,
    x_resnet18,
    x_resnet34,
    x_resnet50,
    x_resnet101,
    x_resnet152,
)
from captum_xdnn.models.resnet import BasicBlock, Bottleneck

BUILDERS = {
    "resnet18": x_resnet18,
    "resnet34": x_resnet34,
    "resnet50": x_resnet50,
    "resnet101": x_resnet101,
    "resnet152": x_resnet152,
}
BLOCKS = {"basic": (BasicBlock, 2), "bottleneck": (Bottleneck, 3)}


def _num_params(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _random(block: type, *, bias: bool) -> XResNet:
    """A network of the block, two of them in its first stage, none of whose numbers is zero."""
    model = XResNet(block, (2, 1, 1, 1), bias=bias, num_classes=5).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=(2 / max(parameter[0].numel(), 8)) ** 0.5)
    return model


def _reference(state: dict[str, Tensor], x: Tensor, convolutions: int) -> Tensor:
    """The Fixup ResNet from its state dict; a bias that is not there is 0, a scale is 1."""

    def bias(name: str) -> Tensor:
        return state.get(name, torch.zeros(1, dtype=x.dtype))

    x = relu(conv2d(x, state["conv1.weight"], stride=2, padding=3) + bias("bias1"))
    x = max_pool2d(x, 3, stride=2, padding=1)
    blocks = dict.fromkeys(name.split(".conv")[0] for name in state if name.startswith("layer"))
    for block in [block for block in blocks if f"{block}.conv1.weight" in state]:
        stride = 2 if block[5] != "1" and block.endswith(".0") else 1
        strided = 1 if convolutions == 2 else 2
        out = x
        for i in range(1, convolutions + 1):
            weight = state[f"{block}.conv{i}.weight"]
            out = conv2d(
                out + bias(f"{block}.bias{i}a"),
                weight,
                stride=stride if i == strided else 1,
                padding=weight.shape[-1] // 2,
            )
            if i == convolutions:
                out = out * state.get(f"{block}.scale", 1)
            out = out + bias(f"{block}.bias{i}b")
            if i < convolutions:
                out = relu(out)
        if f"{block}.downsample.weight" in state:
            shifted = x + bias(f"{block}.bias1a")
            x = conv2d(shifted, state[f"{block}.downsample.weight"], stride=stride)
        x = relu(out + x)
    pooled = x.mean((2, 3)) + bias("bias2")
    return linear(pooled, state["fc.weight"], state.get("fc.bias"))


def test_the_keys_and_parameters_of_the_paper() -> None:
    with torch.device("meta"):
        model = x_resnet50()
    keys = {"conv1.weight", "fc.weight"}
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        keys |= {f"layer{stage}.{b}.conv{i}.weight" for b in range(blocks) for i in (1, 2, 3)}
        keys.add(f"layer{stage}.0.downsample.weight")
    assert set(model.state_dict()) == keys
    assert len(model.state_dict()) == 54
    assert _num_params(model) == 25_502_912


@pytest.mark.parametrize("weights", list(X_ResNet50_Weights))
def test_the_weights_state_the_number_of_parameters(weights: X_ResNet50_Weights) -> None:
    with torch.device("meta"):
        model = x_resnet50(bias=weights.meta["bias"])
    assert _num_params(model) == weights.meta["num_params"]


@pytest.mark.parametrize(("name", "block"), [("resnet18", "basic"), ("resnet50", "bottleneck")])
def test_with_biases_it_has_the_names_of_fixup(name: str, block: str) -> None:
    with torch.device("meta"):
        model = BUILDERS[name](bias=True)
        without = BUILDERS[name]()
    biases = [f"bias{i}{ab}" for i in range(1, BLOCKS[block][1] + 1) for ab in "ab"]
    added = {"bias1", "bias2", "fc.bias"}
    for stage in (1, 2, 3, 4):
        for b in range(len(getattr(model, f"layer{stage}"))):
            added |= {f"layer{stage}.{b}.{bias}" for bias in [*biases, "scale"]}
    assert set(model.state_dict()) - set(without.state_dict()) == added
    assert all(model.state_dict()[key].shape == (1,) for key in added - {"fc.bias"})


@pytest.mark.parametrize("name", BUILDERS)
def test_the_weights_are_those_of_torchvisions_resnet(name: str) -> None:
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        ours = BUILDERS[name]().state_dict()
        theirs = getattr(torchvision.models, name)().state_dict()
    shapes = {
        key.replace("downsample.0", "downsample"): value.shape
        for key, value in theirs.items()
        if value.dim() > 1
    }
    assert {key: value.shape for key, value in ours.items()} == shapes


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("block", BLOCKS)
def test_it_computes_what_its_definition_says(block: str, bias: bool) -> None:
    kind, convolutions = BLOCKS[block]
    model = _random(kind, bias=bias)
    x = torch.randn(2, 3, 45, 64, dtype=torch.float64)
    expected = _reference(model.state_dict(), x, convolutions)
    assert expected.abs().min() > 1e-3
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("name", BUILDERS)
def test_shape_of_the_logits(name: str) -> None:
    with torch.device("meta"):
        model = BUILDERS[name](num_classes=7)
        assert model(torch.empty(2, 3, 33, 64)).shape == (2, 7)
    assert type(model) is XResNet
    assert model.training


@pytest.mark.parametrize("block", BLOCKS)
def test_nonnegatively_homogeneous(block: str) -> None:
    model = _random(BLOCKS[block][0], bias=False)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    for a in (0.0, 1e-3, 0.5, 7.0):
        torch.testing.assert_close(model(a * x), a * model(x))


@pytest.mark.parametrize("builder", [x_resnet18, x_resnet50])
def test_certified(builder: type) -> None:
    certificate = certify(builder(), torch.zeros(1, 3, 32, 32))
    assert certificate.homogeneous
    assert certificate.degree == 1


@pytest.mark.parametrize("block", BLOCKS)
def test_with_biases_it_is_certified_only_while_they_are_zero(block: str) -> None:
    x = torch.zeros(1, 3, 32, 32)
    model = XResNet(BLOCKS[block][0], (1, 1, 1, 1), bias=True, num_classes=5)
    assert certify(model, x).homogeneous
    assert not certify(_random(BLOCKS[block][0], bias=True).float(), x).homogeneous


def test_a_scale_alone_is_homogeneous() -> None:
    model = XResNet(BasicBlock, (1, 1, 1, 1), bias=True, num_classes=5)
    nn.init.constant_(model.layer1[0].scale, 3)
    assert certify(model, torch.zeros(1, 3, 32, 32)).homogeneous


def test_a_single_pass_is_integrated_gradients() -> None:
    model = _random(Bottleneck, bias=False)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    xig = XIntegratedGradients(model, strategy="single_pass")
    attribution = xig.attribute(x, target=1)
    torch.testing.assert_close(attribution.flatten(1).sum(1), model(x)[:, 1])


def test_every_relu_is_a_module_of_its_own_and_not_in_place() -> None:
    model = XResNet(Bottleneck, (1, 1, 1, 1))
    calls = []
    relus = [layer for layer in model.modules() if isinstance(layer, nn.ReLU)]
    for layer in relus:
        layer.register_forward_hook(lambda layer, *_: calls.append(layer))
    model(torch.rand(1, 3, 32, 32))
    assert calls == relus
    assert not any(layer.inplace for layer in relus)


def test_four_stages() -> None:
    with pytest.raises(ValueError, match=r"each of 4 stages, got \(1, 2\)"):
        XResNet(BasicBlock, (1, 2))
