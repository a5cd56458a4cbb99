"""A person says where it should matter, or where it must not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_xdnn.priors.attributions import Attributions, parts_of


def right_for_the_right_reasons(attributions: Attributions, mask: Any) -> Tensor:
    r"""The mean over the batch of the squared attributions at places that must not matter.

    .. math:: L = \frac{1}{B} \sum_{n} \sum_{i} (M_{n i} \, A_{n i})^2

    Args:
        attributions: Tensor or tuple of tensors of shape ``(B, ...)``.
        mask: For each of them a tensor that broadcasts to its shape, 1 (or True) where the
            attribution must be zero, 0 elsewhere. A mask of zeros gives the loss 0.

    Returns:
        The loss, a tensor of shape ``()``.

    Raises:
        AssertionError: If the attributions or masks are no tensor or tuple of tensors.
        ValueError: If a mask does not broadcast to its attributions' shape.

    Source:
        Ross, Hughes, Doshi-Velez, *Right for the Right Reasons* (IJCAI 2017), Equation 1.

    Example:
        >>> import torch
        >>> attributions = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> right_for_the_right_reasons(attributions, torch.tensor([False, True]))
        tensor(10.)
    """
    parts = parts_of(attributions)
    masks = _masks(parts, mask)
    squares = [(a * m).square().sum() for a, m in zip(parts, masks, strict=True)]
    return torch.stack(squares).sum() / len(parts[0])


def energy_guidance(attributions: Attributions, mask: Any) -> Tensor:
    r"""The share of the positive attributions that lies outside of where it should.

    .. math:: L = \frac{1}{B} \sum_{n} \left(1 -
        \frac{\sum_{i} M_{n i} A^{+}_{n i}}{\sum_{i} A^{+}_{n i}}\right),
        \qquad A^{+} = \max(A, 0)

    One minus the *energy pointing game*. An example without positive attributions adds 1, with a
    gradient of zero.

    Args:
        attributions: Tensor or tuple of tensors of shape ``(B, ...)``.
        mask: For each of them a tensor that broadcasts to its shape, 1 (or True) where the
            attribution should be, as inside of a box around the object; 0 elsewhere.

    Returns:
        The loss between 0 and 1, a tensor of shape ``()``.

    Raises:
        AssertionError: If the attributions or masks are no tensor or tuple of tensors.
        ValueError: If a mask does not broadcast to its attributions' shape.

    Source:
        Rao, Böhle, Parchami-Araghi, Schiele, *Studying How to Efficiently and Effectively Guide
        Models with Explanations* (ICCV 2023), Section 3.2.

    Example:
        >>> import torch
        >>> energy_guidance(torch.tensor([[3.0, 1.0, -5.0]]), torch.tensor([True, False, False]))
        tensor(0.2500)
    """
    parts = parts_of(attributions)
    masks = _masks(parts, mask)
    positive = [part.clamp(min=0) for part in parts]
    inside = _summed([p * m for p, m in zip(positive, masks, strict=True)])
    everywhere = _summed(positive)
    return (1 - inside / everywhere.masked_fill(everywhere == 0, 1)).mean()


def _summed(parts: list[Tensor]) -> Tensor:
    """The sum over all entries of each example, shape ``(B,)``."""
    return torch.stack([part.reshape(len(part), -1).sum(1) for part in parts]).sum(0)


def _masks(parts: tuple[Tensor, ...], mask: Any) -> tuple[Tensor, ...]:
    given = mask if isinstance(mask, tuple) else (mask,)
    wrong = [type(m).__name__ for m in given if not isinstance(m, Tensor)]
    if wrong or len(given) != len(parts):
        found = ", ".join(wrong) or f"{len(given)} of them for {len(parts)} tensors"
        message = f"mask must be a tensor for each tensor of the attributions, found {found}"
        raise AssertionError(message)
    for part, one in zip(parts, given, strict=True):
        try:
            fits = one.expand(part.shape).shape == part.shape
        except RuntimeError:
            fits = False
        if not fits:
            message = (
                f"a mask of shape {tuple(one.shape)} does not broadcast to attributions of shape "
                f"{tuple(part.shape)}"
            )
            raise ValueError(message)
    return tuple(one.to(part.device, part.dtype) for part, one in zip(parts, given, strict=True))
