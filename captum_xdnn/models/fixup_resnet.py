"""ResNet without batch norm, trainable by Fixup: without biases, and with Fixup's."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["BasicBlock", "Bottleneck", "XResNet"]


class _Block(nn.Module):
    """What the two kinds of residual block share: Fixup's biases and scale, and the shortcut."""

    expansion: int
    scale: nn.Parameter | None

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, biases: Sequence[str], bias: bool
    ) -> None:
        super().__init__()
        for name in biases:
            self.register_parameter(name, nn.Parameter(torch.zeros(1)) if bias else None)
        self.register_parameter("scale", nn.Parameter(torch.ones(1)) if bias else None)
        self.downsample = (
            _convolution(in_channels, channels * self.expansion, 1, stride)
            if stride != 1 or in_channels != channels * self.expansion
            else None
        )

    @property
    def convolutions(self) -> list[nn.Conv2d]:
        """The convolutions of the branch, first to last."""
        raise NotImplementedError

    def _scaled(self, x: Tensor) -> Tensor:
        return x if self.scale is None else x * self.scale


class BasicBlock(_Block):
    """Two 3 x 3 convolutions beside a shortcut, the block of ResNet-18 and -34.

    Without biases the block is ``y = relu(w2 * relu(w1 * x) + s(x))``, where ``s`` is the
    identity, or a 1 x 1 convolution where the shape changes.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        stride: Stride of the first convolution and of the shortcut.
        bias: Whether there are Fixup's biases and its scale, one number each.
    """

    expansion = 1
    bias1a: nn.Parameter | None
    bias1b: nn.Parameter | None
    bias2a: nn.Parameter | None
    bias2b: nn.Parameter | None

    def __init__(self, in_channels: int, channels: int, stride: int, *, bias: bool) -> None:
        biases = ("bias1a", "bias1b", "bias2a", "bias2b")
        super().__init__(in_channels, channels, stride, biases=biases, bias=bias)
        self.conv1 = _convolution(in_channels, channels, 3, stride)
        self.relu1 = nn.ReLU()
        self.conv2 = _convolution(channels, channels, 3)
        self.relu2 = nn.ReLU()

    @property
    def convolutions(self) -> list[nn.Conv2d]:
        """The convolutions of the branch, first to last."""
        return [self.conv1, self.conv2]

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to the shortcut.

        Returns:
            Tensor of shape ``(N, channels, H / stride, W / stride)``, sides rounded up.
        """
        shifted = _shifted(x, self.bias1a)
        out = self.relu1(_shifted(self.conv1(shifted), self.bias1b))
        out = self._scaled(self.conv2(_shifted(out, self.bias2a)))
        shortcut = x if self.downsample is None else self.downsample(shifted)
        result: Tensor = self.relu2(_shifted(out, self.bias2b) + shortcut)
        return result


class Bottleneck(_Block):
    """Convolutions of 1 x 1, 3 x 3 and 1 x 1 beside a shortcut, the block of the deeper ResNets.

    Without biases the block is ``y = relu(w3 * relu(w2 * relu(w1 * x)) + s(x))``, where ``s`` is
    the identity, or a 1 x 1 convolution where the shape changes.

    Args:
        in_channels: Channels of the input.
        channels: A quarter of the channels of the output.
        stride: Stride of the 3 x 3 convolution and of the shortcut.
        bias: Whether there are Fixup's biases and its scale, one number each.
    """

    expansion = 4
    bias1a: nn.Parameter | None
    bias1b: nn.Parameter | None
    bias2a: nn.Parameter | None
    bias2b: nn.Parameter | None
    bias3a: nn.Parameter | None
    bias3b: nn.Parameter | None

    def __init__(self, in_channels: int, channels: int, stride: int, *, bias: bool) -> None:
        biases = ("bias1a", "bias1b", "bias2a", "bias2b", "bias3a", "bias3b")
        super().__init__(in_channels, channels, stride, biases=biases, bias=bias)
        self.conv1 = _convolution(in_channels, channels, 1)
        self.relu1 = nn.ReLU()
        self.conv2 = _convolution(channels, channels, 3, stride)
        self.relu2 = nn.ReLU()
        self.conv3 = _convolution(channels, channels * self.expansion, 1)
        self.relu3 = nn.ReLU()

    @property
    def convolutions(self) -> list[nn.Conv2d]:
        """The convolutions of the branch, first to last."""
        return [self.conv1, self.conv2, self.conv3]

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to the shortcut.

        Returns:
            Tensor of shape ``(N, 4 channels, H / stride, W / stride)``, sides rounded up.
        """
        shifted = _shifted(x, self.bias1a)
        out = self.relu1(_shifted(self.conv1(shifted), self.bias1b))
        out = self.relu2(_shifted(self.conv2(_shifted(out, self.bias2a)), self.bias2b))
        out = self._scaled(self.conv3(_shifted(out, self.bias3a)))
        shortcut = x if self.downsample is None else self.downsample(shifted)
        result: Tensor = self.relu3(_shifted(out, self.bias3b) + shortcut)
        return result


class XResNet(nn.Module):
    """ResNet without batch norm: a 7 x 7 convolution, four stages of blocks, one linear layer.

    Without biases every layer satisfies ``f(a x) = a f(x)`` for ``a >= 0`` and blocks add what
    does, hence so does the network. With biases it is the Fixup ResNet: one bias before and one
    after every convolution and one scale in every branch, each a single number, and the biases of
    ``fc``; state dicts are those of the Fixup authors' own network.

    Fixup initialisation, without which so deep a network could not be trained: the last convolution
    of every branch and ``fc`` are zero; the others of a branch of ``m`` convolutions are normal
    with the standard deviation ``sqrt(2 / fan_out) * L ** (-1 / (2 m - 2))`` in a network of ``L``
    blocks; convolutions of shortcuts with ``sqrt(2 / fan_out)``. The first convolution of the
    network is left to PyTorch, as the Fixup authors leave it.

    Source: Zhang, Dauphin, Ma 2019, "Fixup Initialization: Residual Learning Without
    Normalization", Sec. 3; without biases Hesse et al. 2021, "Fast Axiomatic Attribution for Neural
    Networks", Sec. 4.1.

    Args:
        block: Kind of residual block.
        blocks: Number of blocks of each of the four stages.
        bias: Whether there are Fixup's biases and scales.
        num_classes: Number of logits.

    Raises:
        ValueError: If ``blocks`` does not name four stages.

    Example:
        >>> model = XResNet(BasicBlock, (1, 1, 1, 1), num_classes=10)
        >>> x = torch.rand(2, 3, 32, 32)
        >>> torch.testing.assert_close(model(3 * x), 3 * model(x))
    """

    bias1: nn.Parameter | None
    bias2: nn.Parameter | None

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: Sequence[int],
        *,
        bias: bool = False,
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        if len(blocks) != 4:
            raise ValueError(
                f"expected the number of blocks of each of 4 stages, got {tuple(blocks)}"
            )
        for name in ("bias1", "bias2"):
            self.register_parameter(name, nn.Parameter(torch.zeros(1)) if bias else None)
        # Every ReLU is a module of its own, and none works in place: Captum's layer methods and
        # DeepLift read what one layer returned in one call.
        self.conv1 = _convolution(3, 64, 7, 2)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = _stage(block, 64, 64, blocks[0], 1, bias=bias)
        self.layer2 = _stage(block, 64 * block.expansion, 128, blocks[1], 2, bias=bias)
        self.layer3 = _stage(block, 128 * block.expansion, 256, blocks[2], 2, bias=bias)
        self.layer4 = _stage(block, 256 * block.expansion, 512, blocks[3], 2, bias=bias)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes, bias=bias)
        self._initialise(depth=sum(blocks))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits.

        Args:
            x: Normalised images of shape ``(N, 3, H, W)``.

        Returns:
            Logits of shape ``(N, num_classes)``.
        """
        out = self.maxpool(self.relu(_shifted(self.conv1(x), self.bias1)))
        out = self.layer4(self.layer3(self.layer2(self.layer1(out))))
        out = torch.flatten(self.avgpool(out), 1)
        logits: Tensor = self.fc(_shifted(out, self.bias2))
        return logits

    def _initialise(self, depth: int) -> None:
        for block in self.modules():
            if not isinstance(block, _Block):
                continue
            *first, last = block.convolutions
            for convolution in first:
                _he_normal(convolution, depth ** (-1 / (2 * len(first))))
            nn.init.zeros_(last.weight)
            if block.downsample is not None:
                _he_normal(block.downsample, 1)
        nn.init.zeros_(self.fc.weight)
        if self.fc.bias is not None:
            nn.init.zeros_(self.fc.bias)


def _shifted(x: Tensor, bias: Tensor | None) -> Tensor:
    return x if bias is None else x + bias


def _convolution(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
) -> nn.Conv2d:
    return nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False
    )


def _stage(
    block: type[BasicBlock] | type[Bottleneck],
    in_channels: int,
    channels: int,
    count: int,
    stride: int,
    *,
    bias: bool,
) -> nn.Sequential:
    first = block(in_channels, channels, stride, bias=bias)
    others = (block(channels * block.expansion, channels, 1, bias=bias) for _ in range(1, count))
    return nn.Sequential(first, *others)


def _he_normal(convolution: nn.Conv2d, factor: float) -> None:
    fan_out = convolution.out_channels * convolution.kernel_size[0] * convolution.kernel_size[1]
    nn.init.normal_(convolution.weight, std=factor * (2 / fan_out) ** 0.5)
