"""The input transform of networks that must see black as zero."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["UnitPixels"]


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
