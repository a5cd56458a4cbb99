import pytest
import torch
from torch import nn

from captum_xdnn.models import XResNet, x_resnet18, x_resnet50
from captum_xdnn.models.resnet import BasicBlock, Bottleneck

# Blocks, convolutions of a branch, and Fixup's exponent -1 / (2 m - 2).
CASES = [(x_resnet18, 8, BasicBlock, -1 / 2), (x_resnet50, 16, Bottleneck, -1 / 4)]


def _he(weight: torch.Tensor) -> float:
    return (2 / (weight.shape[0] * weight[0, 0].numel())) ** 0.5


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("builder", "depth", "kind", "exponent"), CASES)
def test_standard_deviations(
    builder: type, depth: int, kind: type, exponent: float, bias: bool
) -> None:
    model = builder(bias=bias)
    blocks = [module for module in model.modules() if isinstance(module, kind)]
    assert len(blocks) == depth
    for block in blocks:
        *first, last = block.convolutions
        for convolution in first:
            expected = _he(convolution.weight) * depth**exponent
            assert convolution.weight.std().item() == pytest.approx(expected, rel=0.05)
            assert abs(convolution.weight.mean().item()) < 0.1 * expected
        assert not last.weight.any()
        if block.downsample is not None:
            expected = _he(block.downsample.weight)
            assert block.downsample.weight.std().item() == pytest.approx(expected, rel=0.05)
    assert not model.fc.weight.any()


@pytest.mark.parametrize("bias", [False, True])
def test_branches_and_logits_are_zero(bias: bool) -> None:
    model = x_resnet50(bias=bias)
    outputs = []
    for block in model.modules():
        if isinstance(block, Bottleneck):
            block.conv3.register_forward_hook(lambda _, __, output: outputs.append(output))
    assert not model(torch.rand(1, 3, 32, 32)).any()
    assert len(outputs) == 16
    assert not any(output.any() for output in outputs)


def test_biases_are_zero_and_scales_one() -> None:
    model = XResNet(Bottleneck, (1, 1, 1, 1), bias=True)
    for name, parameter in model.named_parameters():
        if "bias" in name:
            assert not parameter.any(), name
        elif "scale" in name:
            assert parameter.eq(1).all(), name


@pytest.mark.parametrize("bias", [False, True])
def test_after_two_steps_the_gradient_reaches_every_parameter(bias: bool) -> None:
    model = XResNet(Bottleneck, (1, 1, 1, 1), bias=bias, num_classes=5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, labels = torch.randn(8, 3, 32, 32), torch.arange(8) % 5
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[0]
    without = [name for name, parameter in model.named_parameters() if not parameter.grad.any()]
    assert without == []
