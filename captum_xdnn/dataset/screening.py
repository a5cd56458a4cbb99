"""What is wrong with samples, found before they are attributed."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor


def flaws_of_inputs(inputs: tuple[Tensor, ...]) -> list[str]:
    """For each sample what is wrong with its inputs; empty where nothing is."""
    flaws = [""] * len(inputs[0])
    for tensor in inputs:
        if not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        rows = tensor.reshape(len(tensor), -1)
        fine = rows.isfinite().all(1)
        if bool(fine.all()):
            continue
        for place in (~fine).nonzero().flatten().tolist():
            nans = int(rows[place].isnan().sum())
            infinite = int(rows[place].isinf().sum())
            flaws[place] = f"input is not finite: {nans} NaN, {infinite} infinite"
    return flaws


def flaws_of_labels(labels: Any, size: int, outputs: int | None) -> list[str]:
    """For each sample what is wrong with its label; empty where nothing is.

    A negative label is none: Captum would explain an output counted from the end.

    Args:
        labels: Tensor of shape ``(B,)``.
        size: The batch size.
        outputs: How many outputs there are; None where that is not known.

    Raises:
        TypeError: If the labels are no numbers, one for each sample.
    """
    if not isinstance(labels, Tensor) or labels.shape != (size,) or labels.is_complex():
        found = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
        message = f"labels must be a tensor of shape ({size},), found {found}"
        raise TypeError(message)
    numbers = labels.tolist()
    return [_flaw_of_label(number, outputs) for number in numbers]


def _flaw_of_label(number: float, outputs: int | None) -> str:
    if isinstance(number, bool) or not math.isfinite(number) or number != int(number):
        return f"label {number} is no index of an output"
    if number < 0 or (outputs is not None and number >= outputs):
        among = "" if outputs is None else f" among {outputs}"
        return f"label {int(number)} is no index of an output{among}"
    return ""
