"""VGG without biases, and with them."""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from captum_xdnn.models.builders import build, described, other_depth
from captum_xdnn.models.pretrained import OfficialWeights, XWeightsEnum, official_url

_CHANNELS = (64, 128, 256, 512, 512)


class XVGG(nn.Module):
    """Five stages of 3 x 3 convolutions, each ended by max-pooling, and three linear layers.

    Without biases every layer satisfies ``f(a x) = a f(x)`` for ``a >= 0``, hence so does the
    network in evaluation mode. With biases its state dicts are those of ``torchvision.models.vgg11``
    and its kin without batch norm.

    Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image
    Recognition", Table 1; without biases Hesse et al. 2021, "Fast Axiomatic Attribution for Neural
    Networks", Sec. 4.1.

    Args:
        convolutions: Number of convolutions of each stage.
        bias: Whether the convolutions and the linear layers have biases.
        num_classes: Number of logits.
        dropout: Probability with which dropout zeroes an input of the last two linear layers.

    Raises:
        ValueError: If ``convolutions`` does not name five stages.

    Example:
        >>> with torch.device("meta"):
        ...     model = XVGG((1, 1, 2, 2, 2), num_classes=10)
        >>> model(torch.empty(2, 3, 32, 32, device="meta")).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        convolutions: Sequence[int],
        *,
        bias: bool = False,
        num_classes: int = 1000,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if len(convolutions) != len(_CHANNELS):
            raise ValueError(
                f"expected the number of convolutions of each of {len(_CHANNELS)} stages, "
                f"got {tuple(convolutions)}"
            )
        self.features = nn.Sequential(*_feature_layers(convolutions, bias=bias))
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096, bias=bias),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096, bias=bias),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes, bias=bias),
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, 0, 0.01)
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, num_classes)`` of normalised images ``(N, 3, H, W)``, ``H, W >= 32``."""
        pooled = self.avgpool(self.features(x))
        logits: Tensor = self.classifier(torch.flatten(pooled, 1))
        return logits


def _feature_layers(convolutions: Sequence[int], *, bias: bool) -> Iterator[nn.Module]:
    inputs = 3
    for outputs, count in zip(_CHANNELS, convolutions, strict=True):
        for _ in range(count):
            yield nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=bias)
            # Not in place, unlike torchvision's: Captum's layer methods read what a layer returned.
            yield nn.ReLU()
            inputs = outputs
        yield nn.MaxPool2d(kernel_size=2, stride=2)


class X_VGG16_Weights(XWeightsEnum):  # noqa: N801 - spelled as torchvision's enums
    """Weights of ``x_vgg16`` that the authors of the paper published.

    ``IMAGENET1K_V1`` is the X-DNN, ``IMAGENET1K_V1_BIAS`` the network with biases that they trained
    in the same way. The accuracies in ``meta["_metrics"]`` are the authors'.

    Example:
        >>> X_VGG16_Weights.IMAGENET1K_V1.meta["num_params"]
        138344128
    """

    IMAGENET1K_V1 = OfficialWeights(
        official_url("xvgg16"), bias=False, num_params=138_344_128, acc5=90.25, min_size=(32, 32)
    )
    IMAGENET1K_V1_BIAS = OfficialWeights(
        official_url("vgg16"), bias=True, num_params=138_357_544, acc5=90.44, min_size=(32, 32)
    )
    DEFAULT = IMAGENET1K_V1


@described(params=138_344_128)
def x_vgg16(
    *,
    weights: X_VGG16_Weights | str | None = None,
    progress: bool = True,
    bias: bool = False,
    num_classes: int = 1000,
    dropout: float = 0.5,
) -> XVGG:
    """Build X-VGG16, or with ``bias=True`` the ordinary VGG16."""
    network = partial(XVGG, (2, 2, 3, 3, 3), dropout=dropout)
    chosen = X_VGG16_Weights.verify(weights)
    return build(network, chosen, progress=progress, bias=bias, num_classes=num_classes)


X_VGG11_Weights, x_vgg11 = other_depth(
    x_vgg16, 11, partial(XVGG, (1, 1, 2, 2, 2)), params=132_851_392
)
X_VGG13_Weights, x_vgg13 = other_depth(
    x_vgg16, 13, partial(XVGG, (2, 2, 2, 2, 2)), params=133_035_712
)
X_VGG19_Weights, x_vgg19 = other_depth(
    x_vgg16, 19, partial(XVGG, (2, 2, 4, 4, 4)), params=143_652_544
)
