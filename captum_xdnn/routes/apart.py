"""Whether a run may be one of several in the place of a larger one: what is looked at beside the rules for rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_xdnn.checks.completeness import loosest, precision_of
from captum_xdnn.checks.gradient_law import custom_functions_of
from captum_xdnn.proof.verdict import Verdict
from captum_xdnn.proof.watching import Watched
from captum_xdnn.routes.checked import differing


def keeps_apart(watched: Watched, verdict: Verdict) -> bool:
    """Whether rows do not meet, forward or backward, and the run changes nothing and draws nothing."""
    if not verdict.keeps_rows_apart or verdict.form[2]:
        return False
    if watched.noted.changed() or watched.noted.rolled() or watched.tape is None:
        return False
    return not watched.tape.touches and not custom_functions_of(watched.output)


def is_kept(watched: Watched, verdict: Verdict) -> bool:
    """Whether code outside keeps what the run computed, of which it would find less, or more often."""
    tape = watched.tape
    return tape is None or any(number in verdict.moving for _, number in tape.survivors())


def gives_the_same(
    function: Callable[..., Any],
    inputs: tuple[Tensor, ...],
    arguments: tuple[Any, ...],
    output: Tensor,
    verdict: Verdict,
    size: int,
) -> bool:
    """Whether the function gives the same rows in a batch of another size, which Python may read.

    It runs once more on the first ``size`` rows; on half of them, or twice on a single one, where the run
    had no more.
    """
    whole = len(output) == size
    fewer = max(1, size // 2) if whole else size
    repeats = 2 if whole and size == 1 else 1

    def part(value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.dim():
            return value
        return torch.cat([value.detach()[:fewer]] * repeats)

    with torch.no_grad():
        found = function(*map(part, inputs), *map(part, arguments))
    if not isinstance(found, Tensor) or len(found) != fewer * repeats:
        return False
    precision = loosest(precision_of(inputs, verdict.graph.coarsest), (*inputs, output))
    return not differing(found[:fewer], output[:fewer], precision)
