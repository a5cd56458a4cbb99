"""Whether a run depends on nothing but its inputs: on no earlier run, and on nothing that nobody saw."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from captum_xdnn.checks.completeness import (
    COARSE,
    COARSE_SLACK,
    SLACK,
    loosest,
    lost_below,
)
from captum_xdnn.proof.verdict import Verdict
from captum_xdnn.routes.request import NOT_FINITE

if TYPE_CHECKING:
    from captum_xdnn.routes.attempt import Attempt

REMEMBERS = (
    "the function reads what it computed or changed in an earlier call, so it is not one function"
)
ELSEWHERE = (
    "in the middle of the ray the function is not what its run at the input says: it reads values or "
    "keeps state where no operation shows it"
)
ENTRANCES = ("aten.lift_fresh.default", "aten.lift_fresh_copy.default")
"""Operations by which what Python made becomes a tensor."""


def state(attempt: Attempt, verdict: Verdict) -> str:
    """Why the run depends on earlier ones, or on what nobody saw; empty where it is not seen to."""
    memory, needed = attempt.memory, verdict.needed
    sources = {n: t for n, t in attempt.tape.sources.items() if n in needed}
    replaced = attempt.watched.noted.replaced()
    remembers = (
        memory.remembers
        or (bool(replaced) and any(id(t) in replaced for t in sources.values()))
        or memory.reads_what_was_left(sources.values())
        or (attempt.counts and attempt.middle.tape is not None and not _repeats(attempt))
    )
    if remembers:
        # For good: what a fast call leaves is not what Captum's passes leave for the next one to read.
        memory.remembers = True
        return REMEMBERS
    return "" if attempt.middle.tape is None else _made_unseen(attempt, verdict, sources)


def _repeats(attempt: Attempt) -> bool:
    """Whether the run at the inputs did what the one in the middle of the ray did."""
    return attempt.middle.tape is not None and attempt.tape.path == attempt.middle.tape.path


def _made_unseen(attempt: Attempt, verdict: Verdict, sources: dict[int, Tensor]) -> str:
    """A tensor that the run took, that is no other tensor's and that the run before did not take.

    Parameters, buffers and what a function holds are the same in both runs, and what Python made
    shows by how it enters. What is left was made in the run where nobody saw it.
    """
    tape = attempt.middle.tape
    if tape is None:
        return ""
    if attempt.tape.written_since(tape):
        return ELSEWHERE
    known = set(map(id, (*tape.sources.values(), *attempt.arguments)))
    entered: list[Tensor] = []
    for number, tensor in sources.items():
        if id(tensor) in known or tape.number_of(tensor) is not None:
            continue
        users = verdict.graph.sources[number].users
        if not any(str(user.target) in ENTRANCES for user in users):
            return ELSEWHERE
        entered.append(tensor)
    mine = set(map(id, attempt.tape.sources.values()))
    before = [t for t in tape.sources.values() if id(t) not in mine]
    pairs = zip(before, entered, strict=False)
    alike = len(before) != len(entered) or all(
        b.shape == e.shape and b.dtype == e.dtype and torch.equal(b, e) for b, e in pairs
    )
    return "" if alike else ELSEWHERE


def differs_in_the_middle(
    attempt: Attempt, verdict: Verdict, said: Callable[[], Tensor], size: Callable[[], float]
) -> str:
    """Why a verdict does not hold in the middle of the ray; empty if it does."""
    if verdict in attempt.memory.confirmed:
        return ""
    found = attempt.middle.output
    if not isinstance(found, Tensor):
        return ELSEWHERE
    with torch.no_grad():
        expected = said()
    if found.shape != expected.shape:
        return ELSEWHERE
    precision = loosest(attempt.precision(), attempt.call.inputs)
    slack = (COARSE_SLACK if precision > COARSE else SLACK) * precision
    gap = float((found - expected).abs().max()) if found.numel() else 0.0
    largest = float(torch.maximum(found.abs(), expected.abs()).max()) if found.numel() else 0.0
    if not math.isfinite(gap):
        return NOT_FINITE
    if gap > slack * (size() + largest) + lost_below(precision):
        return ELSEWHERE
    if largest:
        attempt.memory.confirm(verdict)
    return ""
