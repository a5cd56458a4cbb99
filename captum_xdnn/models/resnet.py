"""ResNet without batch norm, trainable by Fixup: without biases, and with Fixup's."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from captum_xdnn.models.builders import build, described, other_depth
from captum_xdnn.models.pretrained import OfficialWeights, XWeightsEnum, official_url


class _Block(nn.Module):
    """A branch of convolutions beside a shortcut, with Fixup's biases and scale or without.

    Without them it is ``y = relu(w2 * relu(w1 * x) + s(x))``, or with as many more convolutions as
    it has, where ``s`` is the identity, or a 1 x 1 convolution where the shape changes. The
    ``stride`` is that of ``s``, and of the first 3 x 3 convolution.
    """

    expansion: int
    sizes: tuple[int, ...]
    """Of the kernels of the branch's convolutions."""
    bias1a: nn.Parameter | None
    scale: nn.Parameter | None

    def __init__(self, in_channels: int, channels: int, stride: int, *, bias: bool) -> None:
        super().__init__()
        for place in range(1, len(self.sizes) + 1):
            for name in (f"bias{place}a", f"bias{place}b"):
                self.register_parameter(name, nn.Parameter(torch.zeros(1)) if bias else None)
        self.register_parameter("scale", nn.Parameter(torch.ones(1)) if bias else None)
        out_channels = channels * self.expansion
        self.downsample = (
            _convolution(in_channels, out_channels, 1, stride)
            if stride != 1 or in_channels != out_channels
            else None
        )
        widths = [in_channels, *[channels] * (len(self.sizes) - 1), out_channels]
        strides = [stride if n == self.sizes.index(3) else 1 for n in range(len(self.sizes))]
        layers = map(_convolution, widths, widths[1:], self.sizes, strides)
        for place, convolution in enumerate(layers, start=1):
            self.add_module(f"conv{place}", convolution)
            self.add_module(f"relu{place}", nn.ReLU())

    @property
    def convolutions(self) -> list[nn.Conv2d]:
        """The convolutions of the branch, first to last."""
        return [getattr(self, f"conv{n}") for n in range(1, len(self.sizes) + 1)]

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to the shortcut; height and width are over ``stride``, rounded up."""
        out = shifted = _shifted(x, self.bias1a)
        *others, last = range(1, len(self.sizes) + 1)
        for n in others:
            out = _shifted(getattr(self, f"conv{n}")(out), getattr(self, f"bias{n}b"))
            out = _shifted(getattr(self, f"relu{n}")(out), getattr(self, f"bias{n + 1}a"))
        out = getattr(self, f"conv{last}")(out)
        out = out if self.scale is None else out * self.scale
        shortcut = x if self.downsample is None else self.downsample(shifted)
        out = _shifted(out, getattr(self, f"bias{last}b")) + shortcut
        result: Tensor = getattr(self, f"relu{last}")(out)
        return result


class BasicBlock(_Block):
    """Two 3 x 3 convolutions beside a shortcut, the block of ResNet-18 and -34."""

    expansion = 1
    sizes = (3, 3)


class Bottleneck(_Block):
    """Convolutions of 1 x 1, 3 x 3 and 1 x 1 beside a shortcut, the block of the deeper ResNets."""

    expansion = 4
    sizes = (1, 3, 1)


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
        """Logits ``(N, num_classes)`` of normalised images ``(N, 3, H, W)``."""
        out = self.maxpool(self.relu(_shifted(self.conv1(x), self.bias1)))
        out = self.layer4(self.layer3(self.layer2(self.layer1(out))))
        out = torch.flatten(self.avgpool(out), 1)
        logits: Tensor = self.fc(_shifted(out, self.bias2))
        return logits

    def _initialise(self, depth: int) -> None:
        for block in (module for module in self.modules() if isinstance(module, _Block)):
            *first, last = block.convolutions
            for convolution in first:
                _he_normal(convolution, depth ** (-1 / (2 * len(first))))
            nn.init.zeros_(last.weight)
            if block.downsample is not None:
                _he_normal(block.downsample, 1)
        for parameter in self.fc.parameters():
            nn.init.zeros_(parameter)


def _shifted(x: Tensor, bias: Tensor | None) -> Tensor:
    return x if bias is None else x + bias


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)


def _stage(
    block: type[_Block], in_channels: int, channels: int, count: int, stride: int, *, bias: bool
) -> nn.Sequential:
    first = block(in_channels, channels, stride, bias=bias)
    others = (block(channels * block.expansion, channels, 1, bias=bias) for _ in range(1, count))
    return nn.Sequential(first, *others)


def _he_normal(convolution: nn.Conv2d, factor: float) -> None:
    fan_out = convolution.out_channels * convolution.kernel_size[0] * convolution.kernel_size[1]
    nn.init.normal_(convolution.weight, std=factor * (2 / fan_out) ** 0.5)


class X_ResNet50_Weights(XWeightsEnum):  # noqa: N801 - spelled as torchvision's enums
    """Weights of ``x_resnet50`` that the authors of the paper published.

    ``IMAGENET1K_V1`` is the X-DNN, ``IMAGENET1K_V1_BIAS`` the Fixup ResNet with biases that they
    trained in the same way. The accuracies in ``meta["_metrics"]`` are the authors'.

    Example:
        >>> X_ResNet50_Weights.IMAGENET1K_V1.meta["num_params"]
        25502912
    """

    IMAGENET1K_V1 = OfficialWeights(
        official_url("xfixup_resnet50"), bias=False, num_params=25_502_912, acc5=91.12
    )
    IMAGENET1K_V1_BIAS = OfficialWeights(
        official_url("fixup_resnet50"), bias=True, num_params=25_504_026, acc5=92.56
    )
    DEFAULT = IMAGENET1K_V1


@described(params=25_502_912)
def x_resnet50(
    *,
    weights: X_ResNet50_Weights | str | None = None,
    progress: bool = True,
    bias: bool = False,
    num_classes: int = 1000,
) -> XResNet:
    """Build X-ResNet-50, or with ``bias=True`` the Fixup ResNet-50.

    Random weights are Fixup's initialisation, at which all logits are zero.
    """
    network = partial(XResNet, Bottleneck, (3, 4, 6, 3))
    chosen = X_ResNet50_Weights.verify(weights)
    return build(network, chosen, progress=progress, bias=bias, num_classes=num_classes)


X_ResNet18_Weights, x_resnet18 = other_depth(
    x_resnet50, 18, partial(XResNet, BasicBlock, (2, 2, 2, 2)), params=11_678_912
)
X_ResNet34_Weights, x_resnet34 = other_depth(
    x_resnet50, 34, partial(XResNet, BasicBlock, (3, 4, 6, 3)), params=21_779_648
)
X_ResNet101_Weights, x_resnet101 = other_depth(
    x_resnet50, 101, partial(XResNet, Bottleneck, (3, 4, 23, 3)), params=44_442_816
)
X_ResNet152_Weights, x_resnet152 = other_depth(
    x_resnet50, 152, partial(XResNet, Bottleneck, (3, 8, 36, 3)), params=60_040_384
)
