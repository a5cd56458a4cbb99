"""Batch norm without mean and shift, and the factor for each channel that is left of it."""

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
        Input and output ``(B, C, ...)``, of the input's dtype; integers become floating.

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
        return _per_channel(input, input.shape, self.weight)

    def extra_repr(self) -> str:
        """Number of channels."""
        return f"{self.num_features}"


class UncenteredBatchNorm(nn.Module):
    r"""Divide each channel by its root mean square over the batch.

    .. math:: y = w \, \frac{x}{\sqrt{\operatorname{E}[x^2] + \epsilon}}

    In training mode :math:`\operatorname{E}[x^2]` is the mean over the batch and all positions; in
    evaluation mode it is the running mean, a constant: the layer is then linear without a shift,
    and a network of such layers stays nonnegatively homogeneous. It has the arguments of
    ``torch.nn.BatchNorm2d``, and its modes; nothing is subtracted, so nothing has to be corrected
    for having been estimated.

    Args:
        num_features: Number of channels ``C``.
        eps: Added to the mean square, which makes channels of zeros harmless.
        momentum: Weight of the new mean square in the running one; None for the mean of all.
        affine: Whether there is a learned factor ``w``; there is never a shift.
        track_running_stats: Whether there is a running mean square. Without one, the statistics of
            the batch are used in evaluation mode, too, and the layer is not homogeneous.
        device: Device of the parameters.
        dtype: Dtype of the parameters.

    Shapes:
        Input and output ``(B, C, ...)``, real, of the input's dtype; integers become floating. Mean
        squares and factors are computed in single precision or better.

    Raises:
        ValueError: If the input has another number of channels or dimensions, or, in training mode,
            one value per channel only, as torch's batch norm.

    Note:
        In a distributed run each process normalises by its own batch, as ``torch.nn.BatchNorm2d``
        does; there is no counterpart of ``SyncBatchNorm``. In evaluation mode they are the same.
        ``torch.optim.swa_utils.update_bn`` passes these layers over: to estimate the running mean
        squares anew, call :meth:`reset_running_stats`, set ``momentum = None`` and run the network
        on data in training mode.

    Source:
        Ioffe, Szegedy (ICML 2015), without the centring; Hesse, Schaub-Meyer, Roth (NeurIPS 2021),
        Definition 3.3, for what the shift would cost.

    Example:
        >>> import torch
        >>> norm = UncenteredBatchNorm(3).eval()
        >>> x = torch.rand(2, 3, 4)
        >>> torch.testing.assert_close(norm(2 * x), 2 * norm(x))
    """

    dimensions: tuple[int, ...] = ()
    """Numbers of dimensions that an input may have; any if empty."""

    weight: nn.Parameter | None
    running_mean_square: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        ones = torch.ones(num_features, device=device, dtype=dtype)
        self.register_parameter("weight", nn.Parameter(ones) if affine else None)
        count = torch.tensor(0, dtype=torch.long, device=device)
        self.register_buffer("running_mean_square", ones.clone() if track_running_stats else None)
        self.register_buffer("num_batches_tracked", count if track_running_stats else None)

    def reset_running_stats(self) -> None:
        """Forget the running mean squares."""
        if self.running_mean_square is not None and self.num_batches_tracked is not None:
            self.running_mean_square.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Set the factors to 1, and forget the running mean squares."""
        self.reset_running_stats()
        if self.weight is not None:
            nn.init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the input."""
        # Once: where a run is watched, each question about a tensor takes microseconds.
        shape = input.shape
        if self.dimensions and len(shape) not in self.dimensions:
            expected = " or ".join(map(str, self.dimensions))
            raise ValueError(f"expected an input of {expected} dimensions, got {tuple(shape)}")
        _check_channels(shape, self.num_features)
        running = self.running_mean_square
        mean_square = self._of_batch(input) if self.training or running is None else running
        factors = torch.rsqrt(_at_least_single(mean_square) + self.eps)
        weight = self.weight
        return _per_channel(input, shape, factors if weight is None else factors * weight)

    def _of_batch(self, input: Tensor) -> Tensor:
        """The mean squares of this batch, noted in training mode."""
        if self.training and input.numel() == self.num_features:
            raise ValueError(
                f"expected more than 1 value per channel when training, got {tuple(input.shape)}"
            )
        places = [d for d in range(input.dim()) if d != 1]
        mean_square = _at_least_single(input).square().mean(places)
        running, count = self.running_mean_square, self.num_batches_tracked
        noted = self.training and self.track_running_stats and input.numel() > 0
        if noted and running is not None and count is not None:
            count.add_(1)
            share = 1.0 / float(count) if self.momentum is None else self.momentum
            running.lerp_(mean_square.detach().to(running.dtype), share)
        return mean_square

    def extra_repr(self) -> str:
        """The arguments, as torch's batch norm shows them."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


def _at_least_single(tensor: Tensor) -> Tensor:
    """In single precision, if its own is less: squares of half precision overflow at 256."""
    dtype = tensor.dtype
    if dtype is torch.float32 or dtype is torch.float64:  # of others torch's dispatcher is asked
        return tensor
    return tensor.to(torch.promote_types(dtype, torch.float32))


def _check_channels(shape: torch.Size, channels: int) -> None:
    if len(shape) < 2 or shape[1] != channels:
        raise ValueError(f"expected an input of shape (B, {channels}, ...), got {tuple(shape)}")


def _per_channel(input: Tensor, shape: torch.Size, factors: Tensor) -> Tensor:
    """Multiply the channels by factors; where these are of a wider dtype, it is rounded once."""
    _check_channels(shape, len(factors))
    product = input * factors.reshape(1, -1, *(1,) * (len(shape) - 2))
    dtype = input.dtype
    return product.to(dtype) if dtype.is_floating_point else product


class UncenteredBatchNorm1d(UncenteredBatchNorm):
    """:class:`UncenteredBatchNorm` of inputs ``(B, C)`` or ``(B, C, L)``.

    Example:
        >>> import torch
        >>> norm = UncenteredBatchNorm1d(1, eps=0)
        >>> norm(torch.tensor([[3.0], [-3.0]])).tolist()
        [[1.0], [-1.0]]
        >>> round(float(norm.running_mean_square), 3)  # 0.9 * 1 + 0.1 * 9
        1.8
    """

    dimensions = (2, 3)


class UncenteredBatchNorm2d(UncenteredBatchNorm):
    """:class:`UncenteredBatchNorm` of inputs ``(B, C, H, W)``.

    Example:
        >>> import torch
        >>> from captum_xdnn import certify
        >>> certify(UncenteredBatchNorm2d(3).eval(), torch.zeros(2, 3, 4, 4)).degree
        Fraction(1, 1)
        >>> centred = torch.nn.BatchNorm2d(3).eval()
        >>> _ = torch.nn.init.ones_(centred.bias)  # a shift
        >>> certify(centred, torch.zeros(2, 3, 4, 4)).affine
        True
    """

    dimensions = (4,)


class UncenteredBatchNorm3d(UncenteredBatchNorm):
    """:class:`UncenteredBatchNorm` of inputs ``(B, C, D, H, W)``.

    Example:
        >>> import torch
        >>> UncenteredBatchNorm3d(2)(torch.ones(1, 2, 2, 2, 2)).shape
        torch.Size([1, 2, 2, 2, 2])
    """

    dimensions = (5,)
