"""A factor for each channel: what is left of batch norm without mean and shift."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelScale(nn.Module):
    r"""Multiply each channel by a learned factor.

    .. math:: y_c = w_c \, x_c

    Args:
        num_features: Number of channels ``C``.
        device: Device of the factors.
        dtype: Dtype of the factors.

    Shapes:
        Input and output ``(B, C, ...)``.

    Raises:
        ValueError: If dimension 1 of the input is not ``num_features``.

    Example:
        >>> import torch
        >>> scale = ChannelScale(2)
        >>> _ = scale.weight.data.copy_(torch.tensor([1.0, 3.0]))
        >>> scale(torch.ones(1, 2)).tolist()
        [[1.0, 3.0]]
    """

    def __init__(
        self,
        num_features: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.weight = nn.Parameter(torch.ones(num_features, device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        """Set all factors to 1."""
        nn.init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        """Scale the channels."""
        return per_channel(input, self.weight)

    def extra_repr(self) -> str:
        """Number of channels."""
        return f"{self.num_features}"


def per_channel(input: Tensor, factors: Tensor) -> Tensor:
    """Multiply the channels by factors; where these are of a wider dtype, it is rounded once."""
    check_channels(input, len(factors))
    product = input * factors.reshape(1, -1, *(1,) * (input.dim() - 2))
    return product.to(input.dtype) if input.is_floating_point() else product


def check_channels(input: Tensor, channels: int) -> None:
    """Refuse an input that has not so many channels."""
    if input.dim() < 2 or input.shape[1] != channels:
        raise ValueError(
            f"expected an input of shape (B, {channels}, ...), got {tuple(input.shape)}"
        )
