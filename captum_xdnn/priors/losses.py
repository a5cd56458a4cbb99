"""The losses: what few, like or the right features would look like."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_xdnn.attr.documentation import F, described
from captum_xdnn.priors.attributions import Attributions, features_of, wide_parts_of

_RAISES = {
    "AssertionError": "If the attributions are no tensor or tuple of tensors.",
    "ValueError": "If they are of no real floating dtype, have no batch or no entries, or differ in batch size.",
}
_OF_MASKS = {
    "AssertionError": "If the attributions or masks are no tensor or tuple of tensors, or not equally many.",
    "ValueError": f"{_RAISES['ValueError'][:-1]}; if a mask does not broadcast to its attributions' shape.",
}


def _loss(raises: dict[str, str] = _RAISES, **own: str) -> Callable[[F], F]:
    """Write into a loss's docstring what losses have in common."""
    return described(
        _RAISES | raises,
        "The loss, a tensor of shape ``()``, in single precision or better.",
        **own,
    )


@_loss()
def gini_sparsity(attributions: Attributions) -> Tensor:
    r"""Minus the Gini coefficient of the mean absolute attribution of each feature.

    .. math:: L = -\frac{\sum_{i,j} |v_i - v_j|}{2 D \sum_i v_i},
        \qquad v_i = \frac{1}{B} \sum_{n=1}^{B} |A_{n i}|

    for ``D`` features, each entry one: 0 where all matter alike, and :math:`-(1 - 1/D)` where one
    alone does. It does not depend on the size of the attributions. Computed by sorting, in
    :math:`O(D \log D)`; where all attributions are zero it is 0, with a gradient of zero.

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


@_loss()
def l1(attributions: Attributions) -> Tensor:
    r"""The mean absolute attribution.

    .. math:: L = \frac{1}{B D} \sum_{n, i} |A_{n i}|

    Source:
        Tibshirani, *Regression Shrinkage and Selection via the Lasso* (1996), on attributions.

    Example:
        >>> import torch
        >>> l1(torch.tensor([[1.0, -3.0], [0.0, 0.0]]))
        tensor(1.)
    """
    return features_of(attributions).abs().mean()


@_loss(
    {"ValueError": f"{_RAISES['ValueError'][:-1]}, or a tensor has fewer than three dimensions."},
    attributions="Tensor or tuple of tensors of shape ``(B, C, L)``, ``(B, C, H, W)`` or with more "
    "dimensions; several are added up.",
)
def total_variation(attributions: Attributions) -> Tensor:
    r"""The mean absolute difference between attributions of neighbours.

    .. math:: L = \frac{1}{B C} \sum_{n, c} \sum_{d} \operatorname{mean}_{p}
        |A_{n c, p + e_d} - A_{n c, p}|

    over the places :math:`p` of each channel and the directions :math:`d` of its dimensions
    (anisotropic). A direction of length 1 has no neighbours and adds nothing.

    Source:
        Rudin, Osher, Fatemi (1992); as a prior Erion et al. (2021).

    Example:
        >>> import torch
        >>> total_variation(torch.tensor([[[0.0, 1.0, 3.0]]]))
        tensor(1.5000)
    """
    parts = wide_parts_of(attributions)
    for part in parts:
        if part.dim() < 3:
            raise ValueError(
                "total_variation takes attributions of shape (B, C, ...) with at least one "
                f"dimension of neighbours, found {tuple(part.shape)}"
            )
    terms = [
        torch.diff(part, dim=dim).abs().mean()
        for part in parts
        for dim in range(2, part.dim())
        if part.shape[dim] > 1
    ]
    # Without neighbours a zero that still hangs on the attributions, so that it can be trained on.
    return torch.stack(terms or [part.sum() * 0 for part in parts]).sum()


@_loss(_OF_MASKS)
def right_for_the_right_reasons(attributions: Attributions, mask: Any) -> Tensor:
    r"""The mean over the batch of the squared attributions at places that must not matter.

    .. math:: L = \frac{1}{B} \sum_{n} \sum_{i} (M_{n i} \, A_{n i})^2

    for a mask that is 1 (or True) where the attribution must be zero, 0 elsewhere. A mask of zeros
    gives the loss 0.

    Source:
        Ross, Hughes, Doshi-Velez, *Right for the Right Reasons* (IJCAI 2017), Equation 1.

    Example:
        >>> import torch
        >>> attributions = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> right_for_the_right_reasons(attributions, torch.tensor([False, True]))
        tensor(10.)
    """
    parts = wide_parts_of(attributions)
    squares = [(a * m).square().sum() for a, m in zip(parts, _masks(parts, mask), strict=True)]
    return torch.stack(squares).sum() / len(parts[0])


@_loss(_OF_MASKS)
def energy_guidance(attributions: Attributions, mask: Any) -> Tensor:
    r"""The share of the positive attributions that lies outside of where it should.

    .. math:: L = \frac{1}{B} \sum_{n} \left(1 -
        \frac{\sum_{i} M_{n i} A^{+}_{n i}}{\sum_{i} A^{+}_{n i}}\right),
        \qquad A^{+} = \max(A, 0)

    for a mask that is 1 (or True) where the attribution should be, as inside of a box around the
    object, 0 elsewhere. It is one minus the *energy pointing game*, between 0 and 1. An example
    without positive attributions adds 1, with a gradient of zero.

    Source:
        Rao, Böhle, Parchami-Araghi, Schiele, *Studying How to Efficiently and Effectively Guide
        Models with Explanations* (ICCV 2023), Section 3.2.

    Example:
        >>> import torch
        >>> energy_guidance(torch.tensor([[3.0, 1.0, -5.0]]), torch.tensor([True, False, False]))
        tensor(0.2500)
    """
    parts = wide_parts_of(attributions)
    # Not clamp: before torch 2.14 its gradient at 0 is 1.
    positive = tuple(part.relu() for part in parts)
    kept = tuple(p * m for p, m in zip(positive, _masks(parts, mask), strict=True))
    inside, everywhere = (features_of(p).sum(1) for p in (kept, positive))
    return (1 - inside / everywhere.masked_fill(everywhere == 0, 1)).mean()


def _masks(parts: tuple[Tensor, ...], mask: Any) -> list[Tensor]:
    """The masks of the tensors, with their devices and dtypes."""
    given = mask if isinstance(mask, tuple) else (mask,)
    wrong = [type(m).__name__ for m in given if not isinstance(m, Tensor)]
    if wrong or len(given) != len(parts):
        found = ", ".join(wrong) or f"{len(given)} of them for {len(parts)} tensors"
        raise AssertionError(
            f"mask must be a tensor for each tensor of the attributions, found {found}"
        )
    for part, one in zip(parts, given, strict=True):
        sizes = zip(one.shape[::-1], part.shape[::-1], strict=False)
        if one.dim() > part.dim() or any(size not in (1, whole) for size, whole in sizes):
            raise ValueError(
                f"a mask of shape {tuple(one.shape)} does not broadcast to attributions of shape "
                f"{tuple(part.shape)}"
            )
    return [one.to(part.device, part.dtype) for part, one in zip(parts, given, strict=True)]
