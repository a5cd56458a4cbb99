"""How far one attribution is from another."""

import torch
from torch import Tensor

from captum_xdnn.attr.documentation import described
from captum_xdnn.priors.attributions import Attributions, features_of, parts_of

_RAISES = {
    "AssertionError": "If one of them is no tensor or tuple of tensors.",
    "ValueError": "If their shapes differ, or they are of no real floating dtype or have no entries.",
}


@described(_RAISES)
def attribution_difference(attributions: Attributions, reference: Attributions) -> Tensor:
    r"""The mean absolute difference of each example, relative to the reference's size.

    .. math:: d_n = \frac{\sum_i |A_{n i} - R_{n i}|}{\sum_i |R_{n i}|}

    The paper averages this ratio over batches; one number for each example does not depend on how
    the examples are batched. Where the reference is zero it is 0 for a difference of zero, else
    infinite.

    Returns:
        Shape ``(B,)``, in float64.

    Source:
        Hesse, Schaub-Meyer, Roth (NeurIPS 2021), Section 4.1.

    Example:
        >>> import torch
        >>> reference = torch.tensor([[1.0, -3.0], [2.0, 2.0]])
        >>> attribution_difference(torch.tensor([[1.0, -2.0], [2.0, 2.0]]), reference)
        tensor([0.2500, 0.0000], dtype=torch.float64)
    """
    ours, theirs = _rows(attributions, reference)
    gaps, sizes = (ours - theirs).abs().sum(1), theirs.abs().sum(1)
    return torch.where(gaps == 0, gaps, gaps / sizes)


@described(_RAISES)
def rank_correlation(attributions: Attributions, reference: Attributions) -> Tensor:
    r"""Spearman's rank correlation of each example.

    The correlation of the ranks of the entries, where equal entries share their mean rank. NaN
    where all entries of one of them are equal, or one entry is NaN.

    Returns:
        Shape ``(B,)``, in float64, between -1 and 1.

    Source:
        Spearman, *The Proof and Measurement of Association between Two Things* (1904).

    Example:
        >>> import torch
        >>> rank_correlation(torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[0.1, 0.3, 0.2]]))
        tensor([0.5000], dtype=torch.float64)
    """
    ranks = [_ranks(rows) for rows in _rows(attributions, reference)]
    ours, theirs = (one - one.mean(1, keepdim=True) for one in ranks)
    lengths = torch.linalg.vector_norm(ours, dim=1) * torch.linalg.vector_norm(theirs, dim=1)
    correlations: Tensor = (ours * theirs).sum(1) / lengths
    return correlations.clamp(-1, 1)  # rounding


def _rows(attributions: Attributions, reference: Attributions) -> tuple[Tensor, Tensor]:
    """Both in float64, one row for each example."""
    parts = parts_of(attributions), parts_of(reference, "reference")
    shapes = [[tuple(part.shape) for part in one] for one in parts]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"attributions of shapes {shapes[0]} and a reference of shapes {shapes[1]}"
        )
    ours, theirs = features_of(attributions).detach(), features_of(reference).detach()
    return ours.double(), theirs.to(ours.device).double()


def _ranks(rows: Tensor) -> Tensor:
    """The rank of each entry in its row, from 1, equal ones sharing the mean of theirs."""
    rows = rows.contiguous()
    ordered = rows.sort(1).values
    below = torch.searchsorted(ordered, rows)
    upto = torch.searchsorted(ordered, rows, right=True)
    ranks = (below + upto + 1).double() / 2
    return ranks.masked_fill(rows.isnan().any(1, keepdim=True), torch.nan)
