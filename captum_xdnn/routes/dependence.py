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
    from captum_xdnn.recording.watch import Tape
    from captum_xdnn.routes.attempt import Attempt

REMEMBERS = (
    "the function reads what it computed or changed in an earlier call, so it is not one function"
)
ELSEWHERE = (
    "in the middle of the ray the function is not what its run at the input says: it reads values or "
    "keeps state where no operation shows it"
)
SETS_UP = "the function makes in this call what it keeps and reads: Captum's code sets it up"
BY_PASS = (
    "the function draws random numbers or counts, so it may be another one in each of the passes that "
    "Captum's code makes with internal_batch_size"
)
ENTRANCES = ("aten.lift_fresh.default", "aten.lift_fresh_copy.default")
"""Operations by which what Python made becomes a tensor."""


def state(attempt: Attempt, verdict: Verdict) -> str:
    """Why the run depends on earlier ones; empty where it is not seen to."""
    memory, sources = attempt.memory, _needed(attempt.tape, verdict)
    replaced = attempt.watched.noted.replaced()
    if (
        memory.remembers
        or (bool(replaced) and any(id(t) in replaced for t in sources.values()))
        or memory.reads_what_was_left(sources.values())
    ):
        # For good: what a fast call leaves is not what Captum's passes leave for the next one to read.
        memory.remembers = True
        return REMEMBERS
    if attempt.request.makes_several_passes() and memory.rolls:
        return BY_PASS
    made = attempt.watched.noted.brought()
    return SETS_UP if made and not made.isdisjoint(map(id, sources.values())) else ""


def _needed(tape: Tape, verdict: Verdict) -> dict[int, Tensor]:
    """The tensors that a run took, as far as something depends on them."""
    return {n: t for n, t in tape.sources.items() if n in verdict.needed}


def _may_count(attempt: Attempt) -> bool:
    """Whether a run has left another number than it found, where Captum's code makes several: the next one will tell."""
    return attempt.request.makes_several_passes() and attempt.watched.noted.counted()


def _unlike(attempt: Attempt, verdict: Verdict) -> str:
    """Why the run in the middle of the ray is not one of the same function; empty where it may be."""
    memory, middle, first = attempt.memory, attempt.middle, attempt.tape
    if middle.tape is None or middle.verdict is None:
        return ELSEWHERE
    sources = _needed(middle.tape, middle.verdict)
    steers = attempt.watched.noted.plain_changed() and middle.tape.path != first.path
    if steers or memory.reads_what_was_left(sources.values()):
        memory.remembers = True
        return REMEMBERS
    if _may_count(attempt) and attempt.counts:
        return BY_PASS  # what only sets something up leaves it from then on
    if middle.tape.written_since(first):
        return ELSEWHERE
    return _made_unseen(attempt, _needed(first, verdict), sources, middle.verdict)


def _made_unseen(
    attempt: Attempt, before: dict[int, Tensor], now: dict[int, Tensor], verdict: Verdict
) -> str:
    """A tensor that the run took, that is no other tensor's and that the run before did not take.

    Parameters, buffers and what a function holds are the same in both runs, and what Python made
    shows by how it enters. What is left was made in the run where nobody saw it.
    """
    given = set(map(id, (*attempt.arguments, *attempt.arguments_in_the_middle)))
    known = given.union(map(id, attempt.tape.sources.values()))
    entered: list[Tensor] = []
    for number, tensor in now.items():
        if id(tensor) in known or attempt.tape.number_of(tensor) is not None:
            continue
        if not any(str(u.target) in ENTRANCES for u in verdict.graph.sources[number].users):
            return ELSEWHERE
        entered.append(tensor)
    known = given.union(map(id, now.values()))
    gone = [t for t in before.values() if id(t) not in known]
    pairs = zip(gone, entered, strict=False)
    alike = len(gone) != len(entered) or all(
        b.shape == e.shape and b.dtype == e.dtype and torch.equal(b, e) for b, e in pairs
    )
    return "" if alike else ELSEWHERE


def differs_in_the_middle(
    attempt: Attempt, verdict: Verdict, said: Callable[[], Tensor], size: Callable[[], float]
) -> str:
    """Why a verdict does not hold in the middle of the ray; empty if it does."""
    if verdict in attempt.memory.confirmed and not _may_count(attempt):
        return ""
    attempt.leave()
    found = attempt.run_in_the_middle().output
    refusal = _unlike(attempt, verdict)
    if refusal or not isinstance(found, Tensor):
        return refusal or ELSEWHERE
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
