"""Few features should matter."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_xdnn.priors.attributions import Attributions, features_of


def gini_sparsity(attributions: Attributions) -> Tensor:
    r"""Minus the Gini coefficient of the mean absolute attribution of each feature.

    .. math:: L = -\frac{\sum_{i,j} |v_i - v_j|}{2 D \sum_i v_i},
        \qquad v_i = \frac{1}{B} \sum_{n=1}^{B} |A_{n i}|

    for ``D`` features: 0 where all matter alike, and :math:`-(1 - 1/D)` where one alone does. It
    does not depend on the size of the attributions. Computed by sorting, in
    :math:`O(D \log D)`; where all attributions are zero it is 0, with a gradient of zero.

    Args:
        attributions: Tensor or tuple of tensors of shape ``(B, ...)``; every entry is a feature.

    Returns:
        The loss, a tensor of shape ``()``.

    Raises:
        AssertionError: If the attributions are no tensor or tuple of tensors.
        ValueError: If they have no entries or differ in batch size.

    Source:
        Erion et al., *Improving Performance of Deep Learning Models with Axiomatic Attribution
        Priors and Expected Gradients* (2021); Hesse et al. (NeurIPS 2021), Section 4.3.

    Example:
        >>> import torch
        >>> gini_sparsity(torch.tensor([[0.0, 0.0, -2.0, 0.0]]))
        tensor(-0.7500)
        >>> gini_sparsity(torch.ones(3, 4))
        tensor(-0.)
    """
    means = features_of(attributions).abs().mean(0)
    count, total = len(means), means.sum()
    # The sum of |v_i - v_j| over all pairs: v in order, each minus those below it.
    ranks = torch.arange(1 - count, count, 2, dtype=means.dtype, device=means.device)
    return -(means.sort().values @ (ranks / count)) / total.masked_fill(total == 0, 1)


def l1(attributions: Attributions) -> Tensor:
    r"""The mean absolute attribution.

    .. math:: L = \frac{1}{B D} \sum_{n, i} |A_{n i}|

    Args:
        attributions: Tensor or tuple of tensors of shape ``(B, ...)``.

    Returns:
        The loss, a tensor of shape ``()``.

    Raises:
        AssertionError: If the attributions are no tensor or tuple of tensors.
        ValueError: If they have no entries or differ in batch size.

    Source:
        Tibshirani, *Regression Shrinkage and Selection via the Lasso* (1996), on attributions.

    Example:
        >>> import torch
        >>> l1(torch.tensor([[1.0, -3.0], [0.0, 0.0]]))
        tensor(1.)
    """
    return features_of(attributions).abs().mean()
