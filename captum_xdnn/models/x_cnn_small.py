"""A small convolutional network for Fashion-MNIST: the X-DNN and its twin with biases."""

import torch
from torch import Tensor, nn

from captum_xdnn.models.build import build
from captum_xdnn.models.bundled_weights import BundledWeights
from captum_xdnn.models.unit_pixels import UnitPixels
from captum_xdnn.models.weights_enum import XWeightsEnum

__all__ = ["XCNNSmall", "X_CNN_Small_Weights", "x_cnn_small"]

_TRAINING_COMMAND = "python tutorials/experiments/train_x_cnn_small.py --data ROOT --out DIR"
_LICENSE = "BSD-3-Clause; trained on Fashion-MNIST (MIT, copyright 2017 Zalando SE)"


class XCNNSmall(nn.Module):
    """Three convolutions with ReLU, two max-poolings and one linear layer.

    Without biases every layer satisfies ``f(a x) = a f(x)`` for ``a >= 0``, hence so does the
    network ``F``, and the Integrated Gradients of any logit from the black image is ``x * dF/dx``.
    With biases it is the ordinary network of the same layers, to compare with.

    Source: Hesse et al. 2021, "Fast Axiomatic Attribution for Neural Networks", Def. 3.3, Cor. 3.4.

    Args:
        bias: Whether the convolutions and the linear layer have biases.
        num_classes: Number of logits.

    Example:
        >>> model = XCNNSmall()
        >>> x = torch.rand(2, 1, 28, 28)
        >>> torch.testing.assert_close(model(4 * x), 4 * model(x))
    """

    def __init__(self, *, bias: bool = False, num_classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, kernel_size=5, padding=2, bias=bias),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, kernel_size=3, padding=1, bias=bias),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 72, kernel_size=3, padding=1, bias=bias),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(72 * 7 * 7, num_classes, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits.

        Args:
            x: Images of shape ``(N, 1, 28, 28)``, pixels in ``[0, 1]``, 0 is black.

        Returns:
            Logits of shape ``(N, num_classes)``.
        """
        logits: Tensor = self.classifier(torch.flatten(self.features(x), 1))
        return logits


class X_CNN_Small_Weights(XWeightsEnum):  # noqa: N801 - spelled as torchvision's enums
    """Weights of ``x_cnn_small`` that ship with the package.

    ``FASHION_MNIST`` is the X-DNN, ``FASHION_MNIST_BIAS`` its twin with biases; both were trained
    by the command in ``meta["recipe"]``. ``meta["_metrics"]`` holds what that run measured on the
    10,000 test images.

    Example:
        >>> X_CNN_Small_Weights.FASHION_MNIST.meta["num_params"]
        95984
    """

    FASHION_MNIST = BundledWeights(
        name="x_cnn_small_fashion_mnist",
        transforms=UnitPixels,
        recipe=_TRAINING_COMMAND,
        license=_LICENSE,
        min_size=(28, 28),
    )
    FASHION_MNIST_BIAS = BundledWeights(
        name="x_cnn_small_fashion_mnist_bias",
        transforms=UnitPixels,
        recipe=f"{_TRAINING_COMMAND} --bias",
        license=_LICENSE,
        min_size=(28, 28),
    )
    DEFAULT = FASHION_MNIST


def x_cnn_small(
    *,
    weights: X_CNN_Small_Weights | str | None = None,
    progress: bool = True,
    bias: bool = False,
    num_classes: int = 10,
) -> XCNNSmall:
    """Build the small X-DNN for Fashion-MNIST, or with ``bias=True`` its twin with biases.

    Args:
        weights: A member of ``X_CNN_Small_Weights``, its name, or None for random weights.
        progress: Accepted as by every builder of torchvision; these weights are files of the
            package, so there is no download to show.
        bias: Whether the layers have biases.
        num_classes: Number of logits.

    Returns:
        The network, in training mode as torchvision's builders return it.

    Raises:
        ValueError: If the weights were trained with another ``bias`` or ``num_classes``.
        KeyError: If ``weights`` names no member.
        TypeError: If ``weights`` is of another type.

    Example:
        >>> model = x_cnn_small(weights="FASHION_MNIST").eval()
        >>> sum(parameter.numel() for parameter in model.parameters())
        95984
    """
    return build(
        XCNNSmall,
        X_CNN_Small_Weights.verify(weights),
        progress=progress,
        bias=bias,
        num_classes=num_classes,
    )
