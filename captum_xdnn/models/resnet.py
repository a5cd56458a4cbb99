"""The five depths of the ResNet without batch norm, and their weights."""

from collections.abc import Sequence

from captum_xdnn.models.build import build
from captum_xdnn.models.fixup_resnet import BasicBlock, Bottleneck, XResNet
from captum_xdnn.models.official_weights import OfficialWeights, official_url
from captum_xdnn.models.weights_enum import XWeightsEnum

__all__ = [
    "X_ResNet18_Weights",
    "X_ResNet34_Weights",
    "X_ResNet50_Weights",
    "X_ResNet101_Weights",
    "X_ResNet152_Weights",
    "x_resnet18",
    "x_resnet34",
    "x_resnet50",
    "x_resnet101",
    "x_resnet152",
]


class X_ResNet18_Weights(XWeightsEnum):  # noqa: N801 - spelled as torchvision's enums
    """Weights of ``x_resnet18``: nobody has published any.

    Example:
        >>> list(X_ResNet18_Weights)
        []
    """


class X_ResNet34_Weights(XWeightsEnum):  # noqa: N801
    """Weights of ``x_resnet34``: nobody has published any.

    Example:
        >>> list(X_ResNet34_Weights)
        []
    """


class X_ResNet50_Weights(XWeightsEnum):  # noqa: N801
    """Weights of ``x_resnet50`` that the authors of the paper published.

    ``IMAGENET1K_V1`` is the X-DNN, ``IMAGENET1K_V1_BIAS`` the Fixup ResNet with biases that they
    trained in the same way. The accuracies in ``meta["_metrics"]`` are the authors'.

    Example:
        >>> X_ResNet50_Weights.IMAGENET1K_V1.meta["num_params"]
        25502912
    """

    IMAGENET1K_V1 = OfficialWeights(
        url=official_url("xfixup_resnet50_model_best.pth.tar"),
        bias=False,
        num_params=25_502_912,
        min_size=(1, 1),
        acc5=91.12,
    )
    IMAGENET1K_V1_BIAS = OfficialWeights(
        url=official_url("fixup_resnet50_model_best.pth.tar"),
        bias=True,
        num_params=25_504_026,
        min_size=(1, 1),
        acc5=92.56,
    )
    DEFAULT = IMAGENET1K_V1


class X_ResNet101_Weights(XWeightsEnum):  # noqa: N801
    """Weights of ``x_resnet101``: nobody has published any.

    Example:
        >>> list(X_ResNet101_Weights)
        []
    """


class X_ResNet152_Weights(XWeightsEnum):  # noqa: N801
    """Weights of ``x_resnet152``: nobody has published any.

    Example:
        >>> list(X_ResNet152_Weights)
        []
    """


def x_resnet18(
    *,
    weights: X_ResNet18_Weights | str | None = None,
    progress: bool = True,
    bias: bool = False,
    num_classes: int = 1000,
) -> XResNet:
    """Build X-ResNet-18, or with ``bias=True`` the Fixup ResNet-18.

    Arguments, result and errors are those of :func:`x_resnet50`; there are no weights to load.

    Example:
        >>> import torch
        >>> with torch.device("meta"):  # the architecture alone
        ...     model = x_resnet18()
        >>> sum(parameter.numel() for parameter in model.parameters())
        11678912
    """
    chosen = X_ResNet18_Weights.verify(weights)
    return _x_resnet(BasicBlock, (2, 2, 2, 2), chosen, progress, bias=bias, num_classes=num_classes)


def x_resnet34(
    *,
    weights: X_ResNet34_Weights | str | None = None,
    progress: bool = True,
    bias: bool = False,
    num_classes: int = 1000,
) -> XResNet:
    """Build X-ResNet-34, or with ``bias=True`` the Fixup ResNet-34.

    Arguments, result and errors are those of :func:`x_resnet50`; there are no weights to load.

    Example:
        >>> import torch
        >>> with torch.device("meta"):  # the architecture alone
        ...     model = x_resnet34()
        >>> sum(parameter.numel() for parameter in model.parameters())
        21779648
    """
    chosen = X_ResNet34_Weights.verify(weights)
    return _x_resnet(BasicBlock, (3, 4, 6, 3), chosen, progress, bias=bias, num_classes=num_classes)


def x_resnet50(
    *,
    weights: X_ResNet50_Weights | str | None = None,
    progress: bool = True,
    bias: bool = False,
    num_classes: int = 1000,
) -> XResNet:
    """Build X-ResNet-50, or with ``bias=True`` the Fixup ResNet-50.

    Args:
        weights: A member of ``X_ResNet50_Weights``, its name, or None for Fixup's initialisation,
            at which all logits are zero.
        progress: Whether a download shows a progress bar.
        bias: Whether there are Fixup's biases and scales.
        num_classes: Number of logits.

    Returns:
        The network, in training mode as torchvision's builders return it.

    Raises:
        ValueError: If the weights were trained with another ``bias`` or ``num_classes``.
        KeyError: If ``weights`` names no member.
        TypeError: If ``weights`` is of another type.
        ConnectionError: If the weights cannot be downloaded.
        RuntimeError: If what was downloaded is damaged.

    Example:
        >>> import torch
        >>> with torch.device("meta"):
        ...     model = x_resnet50()
        >>> sum(parameter.numel() for parameter in model.parameters())
        25502912
    """
    chosen = X_ResNet50_Weights.verify(weights)
    return _x_resnet(Bottleneck, (3, 4, 6, 3), chosen, progress, bias=bias, num_classes=num_classes)


def x_resnet101(
    *,
    weights: X_ResNet101_Weights | str | None = None,
    progress: bool = True,
    bias: bool = False,
    num_classes: int = 1000,
) -> XResNet:
    """Build X-ResNet-101, or with ``bias=True`` the Fixup ResNet-101.

    Arguments, result and errors are those of :func:`x_resnet50`; there are no weights to load.

    Example:
        >>> import torch
        >>> with torch.device("meta"):  # the architecture alone
        ...     model = x_resnet101()
        >>> sum(parameter.numel() for parameter in model.parameters())
        44442816
    """
    chosen = X_ResNet101_Weights.verify(weights)
    return _x_resnet(
        Bottleneck, (3, 4, 23, 3), chosen, progress, bias=bias, num_classes=num_classes
    )


def x_resnet152(
    *,
    weights: X_ResNet152_Weights | str | None = None,
    progress: bool = True,
    bias: bool = False,
    num_classes: int = 1000,
) -> XResNet:
    """Build X-ResNet-152, or with ``bias=True`` the Fixup ResNet-152.

    Arguments, result and errors are those of :func:`x_resnet50`; there are no weights to load.

    Example:
        >>> import torch
        >>> with torch.device("meta"):  # the architecture alone
        ...     model = x_resnet152()
        >>> sum(parameter.numel() for parameter in model.parameters())
        60040384
    """
    chosen = X_ResNet152_Weights.verify(weights)
    return _x_resnet(
        Bottleneck, (3, 8, 36, 3), chosen, progress, bias=bias, num_classes=num_classes
    )


def _x_resnet(
    block: type[BasicBlock] | type[Bottleneck],
    blocks: Sequence[int],
    weights: XWeightsEnum | None,
    progress: bool,
    *,
    bias: bool,
    num_classes: int,
) -> XResNet:
    return build(
        XResNet,
        weights,
        progress=progress,
        bias=bias,
        num_classes=num_classes,
        block=block,
        blocks=blocks,
    )
