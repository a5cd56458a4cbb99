"""A small convolutional network for Fashion-MNIST: the X-DNN and its twin with biases."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from captum_xdnn.models.builders import build, described
from captum_xdnn.models.pretrained import BundledWeights, XWeightsEnum

_RECIPE = "python tutorials/experiments/train_x_cnn_small.py --data ROOT --out DIR"


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
        """Logits ``(N, num_classes)`` of images ``(N, 1, 28, 28)`` in ``[0, 1]``, 0 is black."""
        logits: Tensor = self.classifier(torch.flatten(self.features(x), 1))
        return logits


class UnitPixels(nn.Module):
    """Scale the 28 x 28 grey values 0 ... 255 to ``[0, 1]``: ``x = p / 255``.

    Scaling is all it does. Subtracting a mean, as is usual, would move black away from zero, and
    with it the baseline at which a network without biases is homogeneous.

    Example:
        >>> UnitPixels()(torch.full((28, 28), 51, dtype=torch.uint8))[0, 0, 0]
        tensor(0.2000)
    """

    def forward(self, image: Any) -> Tensor:
        """Turn one image or a batch into the network's input.

        Args:
            image: A tensor, an array or a PIL image in mode ``L``: grey values of dtype uint8 and
                shape ``(28, 28)``, ``(1, 28, 28)`` or ``(N, 1, 28, 28)``.

        Returns:
            Float32 tensor of shape ``(1, 28, 28)`` or ``(N, 1, 28, 28)`` with values in ``[0, 1]``.

        Raises:
            ValueError: If the shape or the dtype is another.
        """
        pixels = image if isinstance(image, Tensor) else torch.from_numpy(np.array(image))
        if pixels.dtype != torch.uint8:
            raise ValueError(
                f"expected grey values of dtype uint8 in 0 ... 255, got dtype {pixels.dtype}"
            )
        if pixels.dim() == 2:
            pixels = pixels[None]
        if pixels.dim() not in (3, 4) or pixels.shape[-3:] != (1, 28, 28):
            raise ValueError(
                "expected an image of shape (28, 28), (1, 28, 28) or (N, 1, 28, 28), "
                f"got {tuple(pixels.shape)}"
            )
        return pixels.to(torch.float32) / 255


_trained = partial(
    BundledWeights,
    transforms=UnitPixels,
    license="BSD-3-Clause; trained on Fashion-MNIST (MIT, copyright 2017 Zalando SE)",
    min_size=(28, 28),
)


class X_CNN_Small_Weights(XWeightsEnum):  # noqa: N801 - spelled as torchvision's enums
    """Weights of ``x_cnn_small`` that ship with the package.

    ``FASHION_MNIST`` is the X-DNN, ``FASHION_MNIST_BIAS`` its twin with biases; both were trained
    by the command in ``meta["recipe"]``. ``meta["_metrics"]`` holds what that run measured on the
    10,000 test images.

    Example:
        >>> X_CNN_Small_Weights.FASHION_MNIST.meta["num_params"]
        95984
    """

    FASHION_MNIST = _trained("x_cnn_small_fashion_mnist", recipe=_RECIPE)
    FASHION_MNIST_BIAS = _trained("x_cnn_small_fashion_mnist_bias", recipe=f"{_RECIPE} --bias")
    DEFAULT = FASHION_MNIST


@described(params=95_984)
def x_cnn_small(
    *,
    weights: X_CNN_Small_Weights | str | None = None,
    progress: bool = True,
    bias: bool = False,
    num_classes: int = 10,
) -> XCNNSmall:
    """Build the small X-DNN for Fashion-MNIST, or with ``bias=True`` its twin with biases.

    Its weights are files of the package, so there is no download to show.
    """
    chosen = X_CNN_Small_Weights.verify(weights)
    return build(XCNNSmall, chosen, progress=progress, bias=bias, num_classes=num_classes)
