"""What a lower contrast does to predictions: nothing, if the network is homogeneous."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_xdnn.priors.attributions import one_of, positive_integer

CONTRASTS = tuple(tenths / 10 for tenths in range(10, 0, -1))


@dataclass(frozen=True)
class ContrastInvariance:
    """Predictions at several contrasts.

    Attributes:
        contrasts: ``K`` factors.
        predictions: Class of each example at each contrast, shape ``(K, B)``.
        reference: Class of each example as it is, shape ``(B,)``.
        labels: The true classes, or None.

    Example:
        >>> import torch
        >>> found = contrast_invariance(torch.nn.Linear(4, 3), torch.rand(8, 4), contrasts=(1.0, 0.5))
        >>> found.predictions.shape, float(found.unchanged[0])
        (torch.Size([2, 8]), 1.0)
    """

    contrasts: tuple[float, ...]
    predictions: Tensor
    reference: Tensor
    labels: Tensor | None

    @property
    def unchanged(self) -> Tensor:
        """Share of the examples whose class is that at full contrast, shape ``(K,)``."""
        return (self.predictions == self.reference).double().mean(1)

    @property
    def accuracy(self) -> Tensor:
        """Share of the examples whose class is the true one, shape ``(K,)``.

        Raises:
            ValueError: If there are no labels.
        """
        if self.labels is None:
            raise ValueError("accuracy needs the labels")
        return (self.predictions == self.labels).double().mean(1)


def contrast_invariance(
    forward_func: Callable[..., Any],
    inputs: Tensor,
    labels: Tensor | None = None,
    contrasts: Sequence[float] = CONTRASTS,
    *,
    batch_size: int | None = None,
) -> ContrastInvariance:
    r"""The classes that a network gives to inputs at lower contrast, :math:`\arg\max_c F_c(a x)`.

    A nonnegatively homogeneous network of degree ``k`` has :math:`F(a x) = a^k F(x)`: all scores
    shrink alike, and no class changes.

    Args:
        forward_func: Gives scores of shape ``(B, C)``.
        inputs: Shape ``(B, ...)``, zero where there is no contrast.
        labels: The true classes, shape ``(B,)``; None if they are not known.
        contrasts: Factors ``a``.
        batch_size: How many inputs in one pass; None for all.

    Returns:
        The predictions.

    Raises:
        AssertionError: If the inputs are no tensor.
        ValueError: If a factor or the size of a pass is not positive, or labels or scores are of
            another shape; if the inputs are not of a real floating dtype.

    Source:
        Hesse, Schaub-Meyer, Roth (NeurIPS 2021), Section 4.4.

    Example:
        >>> import torch
        >>> net = torch.nn.Linear(4, 3, bias=False)
        >>> contrast_invariance(net, torch.rand(8, 4)).unchanged.min()
        tensor(1., dtype=torch.float64)
    """
    images = one_of(inputs, "inputs")
    factors = tuple(float(c) for c in contrasts)
    if not factors or not all(0 < factor < math.inf for factor in factors):
        raise ValueError(f"contrasts must be positive, found {factors}")
    if not (labels is None or (isinstance(labels, Tensor) and labels.shape == images.shape[:1])):
        found = f"shape {tuple(labels.shape)}" if isinstance(labels, Tensor) else repr(labels)
        raise ValueError(
            f"labels of {found} for {len(images)} inputs, they must be a tensor of shape (B,)"
        )
    size = len(images) if batch_size is None else positive_integer(batch_size, "batch_size")

    @torch.no_grad()
    def classes(factor: float) -> Tensor:
        scores = torch.cat([forward_func(factor * part) for part in torch.split(images, size)])
        if scores.dim() != 2 or len(scores) != len(images):
            raise ValueError(
                f"forward_func must give scores of shape (B, C), found {tuple(scores.shape)} for "
                f"{len(images)} inputs"
            )
        return scores.argmax(1)

    reference = classes(1.0)
    predictions = torch.stack([classes(factor) for factor in factors])
    known = None if labels is None else labels.to(reference.device)
    return ContrastInvariance(factors, predictions, reference, known)
