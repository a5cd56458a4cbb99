"""The guard: Euler's identity, checked at every call on numbers that the pass has anyway.

If the output is homogeneous (or affine) along the ray, the attributions of an example add up to
``F(x) - F(b)``. A call in which they do not contradicts its certificate.
"""

from __future__ import annotations

import torch
from torch import Tensor

SLACK = 64.0
"""Units of rounding allowed, relative to the sum of absolute attributions; see Architecture."""


def gap_exceeds(
    attributions: tuple[Tensor, ...], outputs: Tensor, start: Tensor | None, precision: float
) -> bool:
    r"""Whether completeness fails beyond rounding.

    .. math:: \bigl|\textstyle\sum_i A_i - (F(x) - F(b))\bigr| > c \, \epsilon \,
        \bigl(\sum_i |A_i| + |F(x)| + |F(b)|\bigr)

    Checked per example where there is one output per example, else for the whole batch. This is
    the only place where a call waits for its device.

    Args:
        attributions: The attributions :math:`A`, one tensor of shape ``(B, ...)`` per input.
        outputs: ``F(x)``, shape ``(B,)`` or another number of outputs.
        start: ``F(b)`` in the same shape; None where it is zero.
        precision: The unit of rounding :math:`\epsilon` of the computation.
    """
    flat = [a.flatten(1) if a.dim() > 1 else a.unsqueeze(1) for a in attributions]
    total = _added([a.sum(1) for a in flat])
    ends = [outputs.reshape(-1)] if start is None else [outputs.reshape(-1), start.reshape(-1)]
    batched = ends[0].shape == total.shape
    unit = SLACK * precision
    rows = _numbers([total, *ends], batched=batched)
    if _within(rows, [0.0] * len(rows[0]), unit):
        return False
    mass = _numbers([_added([a.abs().sum(1) for a in flat])], batched=batched)
    return not _within(rows, mass[0], unit)


def _within(rows: list[list[float]], mass: list[float], unit: float) -> bool:
    """Whether all gaps are within rounding; a mass of zero makes the stricter, cheaper test."""
    starts = rows[2] if len(rows) > 2 else [0.0] * len(mass)
    return all(
        abs(total - (end - start)) <= unit * (size + abs(end) + abs(start))
        for total, end, start, size in zip(rows[0], rows[1], starts, mass, strict=True)
    )


def _numbers(parts: list[Tensor], *, batched: bool) -> list[list[float]]:
    """The numbers of several tensors, per example or added up, in one transfer."""
    if not batched:
        parts = [part.sum().reshape(1) for part in parts]
    rows: list[list[float]] = torch.stack(_alike(parts)).tolist()
    return rows


def _added(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.stack(_alike(tensors)).sum(0)


def _alike(tensors: list[Tensor]) -> list[Tensor]:
    """The tensors on one device and in one dtype; a model may be spread over devices."""
    device, dtype = tensors[0].device, tensors[0].dtype
    return [tensor.to(device, dtype) for tensor in tensors]
