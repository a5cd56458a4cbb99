"""Neighbouring places should matter alike."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_xdnn.priors.attributions import Attributions, parts_of


def total_variation(attributions: Attributions) -> Tensor:
    r"""The mean absolute difference between attributions of neighbours.

    .. math:: L = \frac{1}{B C} \sum_{n, c} \sum_{d} \operatorname{mean}_{p}
        |A_{n c, p + e_d} - A_{n c, p}|

    over the places :math:`p` of each channel and the directions :math:`d` of its dimensions
    (anisotropic). A direction of length 1 has no neighbours and adds nothing.

    Args:
        attributions: Tensor or tuple of tensors of shape ``(B, C, L)``, ``(B, C, H, W)`` or with
            more dimensions; several are added up.

    Returns:
        The loss, a tensor of shape ``()``.

    Raises:
        AssertionError: If the attributions are no tensor or tuple of tensors.
        ValueError: If a tensor has fewer than three dimensions, or no entries.

    Source:
        Rudin, Osher, Fatemi (1992); as a prior Erion et al. (2021).

    Example:
        >>> import torch
        >>> total_variation(torch.tensor([[[0.0, 1.0, 3.0]]]))
        tensor(1.5000)
    """
    parts = parts_of(attributions)
    for part in parts:
        if part.dim() < 3:
            message = (
                "total_variation takes attributions of shape (B, C, ...) with at least one "
                f"dimension of neighbours, found {tuple(part.shape)}"
            )
            raise ValueError(message)
    terms = [
        torch.diff(part, dim=dim).abs().mean()
        for part in parts
        for dim in range(2, part.dim())
        if part.shape[dim] > 1
    ]
    # Without neighbours a zero that still hangs on the attributions, so that it can be trained on.
    return torch.stack(terms or [part.sum() * 0 for part in parts]).sum()
