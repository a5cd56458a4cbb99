"""What is kept of an attribution: all of it, the sum over channels, or the largest entries."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from captum_xdnn.dataset.records import Columns
from captum_xdnn.priors.attributions import positive_integer

Reduction: TypeAlias = Callable[[tuple[Tensor, ...]], Columns]
"""Makes columns of the attributions of a batch; it is a function, or its ``repr`` says which."""


@dataclass(frozen=True)
class Dense:
    """All attributions: one column ``attribution``, or ``attribution_0``, ``attribution_1``, ..."""

    def __call__(self, attributions: tuple[Tensor, ...]) -> Columns:
        """The columns, of the attributions' shapes."""
        return _columns([{"attribution": a} for a in attributions])


@dataclass(frozen=True)
class SumChannels:
    r"""The sum over the channels, :math:`\sum_c A_{bc\dots}`: a map of ``(H, W)`` for each image.

    The sum of a map is that of the attributions, so completeness holds as before.

    Example:
        >>> import torch
        >>> from captum_xdnn.dataset import SumChannels
        >>> SumChannels()((torch.ones(2, 3, 4, 4),))["attribution"].shape
        (2, 4, 4)
    """

    def __call__(self, attributions: tuple[Tensor, ...]) -> Columns:
        """The columns, of the attributions' shapes without dimension 1.

        Raises:
            ValueError: If an attribution is not of shape ``(B, C, ...)``.
        """
        flat = [a.shape for a in attributions if a.dim() < 3]
        if flat:
            raise ValueError(f"channels are summed of shapes (B, C, ...), found {tuple(flat[0])}")
        return Dense()(tuple(a.sum(1) for a in attributions))


@dataclass(frozen=True)
class TopK:
    """The ``k`` entries of largest absolute value, largest first, and their places.

    Columns ``attribution`` and ``place``, both of shape ``(k,)``; a place counts the entries of a
    sample in row-major order (``numpy.unravel_index`` gives its coordinates).

    Args:
        k: How many; where an attribution has fewer, all of them.

    Raises:
        ValueError: If ``k`` is no positive integer.

    Example:
        >>> import torch
        >>> from captum_xdnn.dataset import TopK
        >>> columns = TopK(2)((torch.tensor([[1.0, -3.0, 2.0]]),))
        >>> columns["attribution"].tolist(), columns["place"].tolist()
        ([[-3.0, 2.0]], [[1, 2]])
    """

    k: int

    def __post_init__(self) -> None:
        positive_integer(self.k, "k")

    def __call__(self, attributions: tuple[Tensor, ...]) -> Columns:
        """The columns of attributions of shapes ``(B, ...)``, one for each input."""
        return _columns(list(map(self._largest, attributions)))

    def _largest(self, attribution: Tensor) -> dict[str, Tensor]:
        rows = attribution.reshape(len(attribution), math.prod(attribution.shape[1:]))
        # Equal values in the order of their places, the same on every device.
        places = rows.abs().sort(dim=1, descending=True, stable=True).indices[:, : self.k]
        return {"attribution": rows.gather(1, places), "place": places.to(torch.int32)}


def _columns(inputs: list[dict[str, Tensor]]) -> Columns:
    """Arrays by name, which an index is added to where there are several inputs."""
    return {
        name if len(inputs) == 1 else f"{name}_{index}": _array(tensor)
        for index, tensors in enumerate(inputs)
        for name, tensor in tensors.items()
    }


def _array(tensor: Tensor) -> npt.NDArray[np.generic]:
    known = tensor.float() if tensor.dtype == torch.bfloat16 else tensor  # NumPy has no bfloat16
    array: npt.NDArray[np.generic] = known.detach().cpu().numpy()
    return array
