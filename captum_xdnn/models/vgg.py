"""VGG without biases, and with them."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from captum_xdnn.models.build import build
from captum_xdnn.models.official_weights import OfficialWeights, official_url
from captum_xdnn.models.weights_enum import XWeightsEnum

__all__ = [
    "XVGG",
    "X_VGG11_Weights",
    "X_VGG13_Weights",
    "X_VGG16_Weights",
    "X_VGG19_Weights",
    "x_vgg11",
    "x_vgg13",
    "x_vgg16",
    "x_vgg19",
]

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
        """Compute the logits.

        Args:
            x: Normalised images of shape ``(N, 3, H, W)``, both sides at least 32.

        Returns:
            Logits of shape ``(N, num_classes)``.
        """
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


class X_VGG11_Weights(XWeightsEnum):  # noqa: N801 - spelled as torchvision's enums
    """Weights of ``x_vgg11``: nobody has published any.

    Example:
        >>> list(X_VGG11_Weights)
        []
    """


class X_VGG13_Weights(XWeightsEnum):  # noqa: N801
    """Weights of ``x_vgg13``: nobody has published any.

    Example:
        >>> list(X_VGG13_Weights)
        []
    """


class X_VGG16_Weights(XWeightsEnum):  # noqa: N801
    """Weights of ``x_vgg16`` that the authors of the paper published.

    ``IMAGENET1K_V1`` is the X-DNN, ``IMAGENET1K_V1_BIAS`` the network with biases that they trained
    in the same way. The accuracies in ``meta["_metrics"]`` are the authors'.

    Example:
        >>> X_VGG16_Weights.IMAGENET1K_V1.meta["num_params"]
        138344128
    """

    IMAGENET1K_V1 = OfficialWeights(
        url=official_url("xvgg16_model_best.pth.tar"),
        bias=False,
        num_params=138_344_128,
        min_size=(32, 32),
        acc5=90.25,
    )
    IMAGENET1K_V1_BIAS = OfficialWeights(
        url=official_url("vgg16_model_best.pth.tar"),
        bias=True,
        num_params=138_357_544,
        min_size=(32, 32),
        acc5=90.44,
    )
    DEFAULT = IMAGENET1K_V1


class X_VGG19_Weights(XWeightsEnum):  # noqa: N801
    """Weights of ``x_vgg19``: nobody has published any.

    Example:
        >>> list(X_VGG19_Weights)
        []
    """


def x_vgg11(
    *,
    weights: X_VGG11_Weights | str | None = None,
    progress: bool = True,
    bias: bool = False,
    num_classes: int = 1000,
    dropout: float = 0.5,
) -> XVGG:
    """Build X-VGG11, or with ``bias=True`` the ordinary VGG11.

    Arguments, result and errors are those of :func:`x_vgg16`; there are no weights to load.

    Example:
        >>> import torch
        >>> with torch.device("meta"):  # the architecture alone
        ...     model = x_vgg11()
        >>> sum(parameter.numel() for parameter in model.parameters())
        132851392
    """
    chosen = X_VGG11_Weights.verify(weights)
    return _x_vgg(
        (1, 1, 2, 2, 2), chosen, progress, bias=bias, num_classes=num_classes, dropout=dropout
    )


def x_vgg13(
    *,
    weights: X_VGG13_Weights | str | None = None,
    progress: bool = True,
    bias: bool = False,
    num_classes: int = 1000,
    dropout: float = 0.5,
) -> XVGG:
    """Build X-VGG13, or with ``bias=True`` the ordinary VGG13.

    Arguments, result and errors are those of :func:`x_vgg16`; there are no weights to load.

    Example:
        >>> import torch
        >>> with torch.device("meta"):  # the architecture alone
        ...     model = x_vgg13()
        >>> sum(parameter.numel() for parameter in model.parameters())
        133035712
    """
    chosen = X_VGG13_Weights.verify(weights)
    return _x_vgg(
        (2, 2, 2, 2, 2), chosen, progress, bias=bias, num_classes=num_classes, dropout=dropout
    )


def x_vgg16(
    *,
    weights: X_VGG16_Weights | str | None = None,
    progress: bool = True,
    bias: bool = False,
    num_classes: int = 1000,
    dropout: float = 0.5,
) -> XVGG:
    """Build X-VGG16, or with ``bias=True`` the ordinary VGG16.

    Args:
        weights: A member of ``X_VGG16_Weights``, its name, or None for random weights.
        progress: Whether a download shows a progress bar.
        bias: Whether the layers have biases.
        num_classes: Number of logits.
        dropout: Probability of dropout, which only a network in training mode does.

    Returns:
        The network, in training mode as torchvision's builders return it.

    Raises:
        ValueError: If the weights were trained with another ``bias`` or ``num_classes``.
        KeyError: If ``weights`` names no member.
        TypeError: If ``weights`` is of another type.
        ConnectionError: If the weights cannot be downloaded.
        RuntimeError: If what was downloaded is damaged.

    Example:
        >>> with torch.device("meta"):
        ...     model = x_vgg16()
        >>> sum(parameter.numel() for parameter in model.parameters())
        138344128
    """
    chosen = X_VGG16_Weights.verify(weights)
    return _x_vgg(
        (2, 2, 3, 3, 3), chosen, progress, bias=bias, num_classes=num_classes, dropout=dropout
    )


def x_vgg19(
    *,
    weights: X_VGG19_Weights | str | None = None,
    progress: bool = True,
    bias: bool = False,
    num_classes: int = 1000,
    dropout: float = 0.5,
) -> XVGG:
    """Build X-VGG19, or with ``bias=True`` the ordinary VGG19.

    Arguments, result and errors are those of :func:`x_vgg16`; there are no weights to load.

    Example:
        >>> import torch
        >>> with torch.device("meta"):  # the architecture alone
        ...     model = x_vgg19()
        >>> sum(parameter.numel() for parameter in model.parameters())
        143652544
    """
    chosen = X_VGG19_Weights.verify(weights)
    return _x_vgg(
        (2, 2, 4, 4, 4), chosen, progress, bias=bias, num_classes=num_classes, dropout=dropout
    )


def _x_vgg(
    convolutions: Sequence[int],
    weights: XWeightsEnum | None,
    progress: bool,
    *,
    bias: bool,
    num_classes: int,
    dropout: float,
) -> XVGG:
    return build(
        XVGG,
        weights,
        progress=progress,
        bias=bias,
        num_classes=num_classes,
        dropout=dropout,
        convolutions=convolutions,
    )
