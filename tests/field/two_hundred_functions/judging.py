"""What has to hold of a function: Captum's numbers, exceptions, state and time, and nothing left.

How near the numbers have to be follows from the route:

- ``captum`` is Captum's own code on the function as it was left: the same numbers. A product of
  matrices may be summed in another order where its memory lies otherwise, so a part in a million is
  allowed.
- ``hoisted`` is Captum's sum at Captum's nodes, computed in another order: rounding. In float64 that
  is ``DOUBLE``, for Captum's step weights are float32 numbers. In float32 units at a kink fall to one
  side or the other, and a gap above ``FLOAT`` is held against Captum's own noise: how far its numbers
  move in passes of another size, and at inputs that are moved by one unit of rounding.
- ``single_pass`` is the integral, so Captum has to come near it with more steps. Where Captum's rule
  is exact (gradients that are polynomials along the ray) the gap is that of its weights at once.
  Elsewhere it has to shrink by half each time that the steps are multiplied by four, and the
  attributions have to add up to ``F(x) - F(b)`` in float64, which no approximation does by chance.
"""

from __future__ import annotations

import gc
import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from .explained import Explained, Maker
from .runs import (
    CAPTUM,
    OURS,
    Run,
    Runs,
    in_double,
    made,
    of_other_passes,
    of_rounded_inputs,
    run,
    seeded,
    tensors_of,
)
from .state import differing

SAME = 1e-6
DOUBLE = 1e-7
FLOAT = 1e-5
TIMES_NOISE = 4
COMPLETE = 1e-9
TIMES_CAPTUM, SECONDS = 1.1, 0.3
"""How long a first call may take: so many times Captum's, and so many seconds."""
CALLS = 3
"""The first call may be hoisted, the second Captum's, the third whichever was faster."""


@dataclass
class Found:
    """What was seen of one function, and every fault."""

    name: str
    shapes: str = ""  # of the inputs
    method: str = ""  # the name of Captum's class
    routes: list[str] = field(default_factory=list)  # of the calls, in turn
    detail: str = ""
    raised: str = ""  # the type of Captum's exception
    gap: float = 0.0  # to Captum, in parts of the largest attribution
    double_gap: float | None = None  # the same in float64, where a fast route was taken
    ours: float = 0.0  # seconds of the processor in the first call
    captums: float = 0.0
    ours_later: float = 0.0  # seconds of the processor in the quicker of two later calls
    captums_later: float = 0.0
    documented: str = ""
    faults: list[str] = field(default_factory=list)


def judge(name: str, make: Maker) -> Found:
    """Explain a function by Captum's class and by ours, each first once, and compare all of it."""
    gc.collect()
    gc.freeze()  # what is there already is not looked through again and again
    try:
        return _judged(name, make)
    finally:
        gc.unfreeze()


def _judged(name: str, make: Maker) -> Found:
    seeded(name, make)  # what a package makes once and keeps for its classes
    captums, ours = run(name, make, CAPTUM, CALLS), run(name, make, OURS, CALLS)
    # The other way round, and once: what a first call takes and leaves.
    our_first, captums_first = run(name, make, OURS, 1), run(name, make, CAPTUM, 1)
    first = ours.calls[0]
    routes = [r.route for r in ours.calls]
    found = Found(name, ours.shapes, ours.method, routes, first.detail)
    _compare_time(found, (ours, our_first), (captums, captums_first))
    for one, other in ((ours, captums), (our_first, captums_first)):
        _compare_what_is_left(found, one, other)
    for one, other in zip(ours.calls, captums.calls, strict=True):
        if one.error != other.error:
            found.faults.append(f"raises {one.error}, Captum {other.error}")
        found.faults += [f"warns {w:.300}" for w in one.warned if w not in other.warned]
    found.raised = (captums.calls[0].error or ("",))[0]
    found.documented = ours.documented
    if found.documented:
        if not found.faults:
            found.faults.append(f"does not differ as documented: {found.documented}")
        found.faults = [f for f in found.faults if not f.startswith(("state", "warns"))]
    if not any(r.error for r in (*ours.calls, *captums.calls)):
        _compare_numbers(found, make, ours, captums)
    return found


def _compare_time(found: Found, ours: tuple[Runs, Runs], captums: tuple[Runs, Runs]) -> None:
    found.ours, found.captums = (min(r.calls[0].seconds for r in side) for side in (ours, captums))
    later = (min(r.seconds for r in side[0].calls[1:]) for side in (ours, captums))
    found.ours_later, found.captums_later = later
    if found.ours > TIMES_CAPTUM * found.captums + SECONDS:
        found.faults.append(f"takes {found.ours:.2f} s, Captum {found.captums:.2f} s")


def _compare_what_is_left(found: Found, ours: Runs, captums: Runs) -> None:
    found.faults += [f"state {d}" for d in differing(captums.state, ours.state)[:4]]
    found.faults += [f"process {d}" for d in differing(captums.process, ours.process)[:4]]
    if len(ours.left) > len(captums.left):  # a function's own cache outlives it with Captum, too
        found.faults.append(f"leaves {ours.left[:3]}, Captum {captums.left[:3]}")


def _compare_numbers(found: Found, make: Maker, ours: Runs, captums: Runs) -> None:
    pairs = list(zip(ours.calls, captums.calls, strict=True))
    forms = [(form_of(one.result), form_of(other.result)) for one, other in pairs]
    found.faults += [f"form {one}, Captum {other}" for one, other in forms if one != other]
    if found.faults and any(one != other for one, other in forms):
        return
    allowed = 0.0
    if any(r.route != "captum" for r in ours.calls):
        allowed = _allowed_in_float(found, make)
    for index, (one, other) in enumerate(pairs):
        off = gap(one, other)
        found.gap = off if index == 0 else found.gap
        if one.route == "captum":
            if off > SAME:
                found.faults.append(f"call {index + 1}: {off:.1e} from Captum by its own code")
        elif off > max(FLOAT, allowed) and off > TIMES_NOISE * _noise(found, make, other):
            found.faults.append(f"call {index + 1}: {off:.1e} from Captum by {one.route}")


def _noise(found: Found, make: Maker, captums: Run) -> float:
    """How far Captum's numbers are from its own: in passes of another size, at inputs as near as can be."""
    return max(
        gap(other(found.name, make), captums) for other in (of_other_passes, of_rounded_inputs)
    )


def _allowed_in_float(found: Found, make: Maker) -> float:
    """Compare in float64; gives how far Captum's own sum is from the integral, if that is asked for."""
    (ours, explained), (captums, _) = (in_double(found.name, make, s) for s in (OURS, CAPTUM))
    if ours.route == "captum":
        return 0.0  # another dtype, another choice: the numbers in float32 have to do
    off = found.double_gap = gap(ours, captums)
    if off <= DOUBLE:
        return 0.0
    if ours.route != "single_pass":
        found.faults.append(f"{off:.1e} from Captum in float64 by {ours.route}")
        return 0.0
    gaps = [off]
    for times in (4, 16):
        more, _ = in_double(found.name, make, CAPTUM, times)
        gaps.append(gap(ours, more))
    if not all(b <= max(a / 2, DOUBLE) for a, b in pairwise(gaps)):
        found.faults.append(f"Captum with more steps does not come nearer: {gaps}")
    missed = incompleteness(explained, ours.result)
    if missed > COMPLETE:
        found.faults.append(f"misses F(x) - F(b) by {missed:.1e}")
    return 2 * off


def incompleteness(explained: Explained, result: Any) -> float:
    """How far attributions are from ``F(x) - F(b)``, in parts of the sum of their sizes."""
    method = made(explained, CAPTUM)
    if explained.method != "IntegratedGradients" or not method.multiplies_by_inputs:
        return 0.0
    names = ("target", "additional_forward_args")
    given = {n: explained.call[n] for n in names if n in explained.call}
    if explained.call.get("return_convergence_delta"):
        result = result[0]
    baselines = explained.call.get("baselines")
    if baselines is None:
        baselines = tuple(0 for _ in explained.tensors())
        baselines = baselines if isinstance(explained.inputs, tuple) else 0
    delta = method.compute_convergence_delta(result, baselines, explained.inputs, **given)
    return float(delta.abs().sum() / (sum(t.abs().sum() for t in tensors_of(result)) or 1.0))


def form_of(result: Any) -> Any:
    """What a caller can see of a result beside its numbers."""
    if isinstance(result, tuple):
        return tuple(map(form_of, result))
    if not isinstance(result, Tensor):
        return type(result).__name__
    return tuple(result.shape), str(result.dtype), result.stride(), result.requires_grad


def gap(ours: Run, theirs: Run) -> float:
    """The largest difference in parts of the largest number, of the tensor where that is worst.

    A tensor that is very small beside the others is measured in parts of theirs, a delta in parts of
    the attributions.
    """
    pairs = list(zip(tensors_of(ours.result), tensors_of(theirs.result), strict=True))
    sizes = [float(_finite(t).abs().max()) if t.numel() else 0.0 for _, t in pairs]
    least, worst = 1e-3 * max([*sizes, 0.0]), 0.0
    if theirs.has_delta:
        sizes[-1] = max(sizes)
    for (o, t), size in zip(pairs, sizes, strict=True):
        if not torch.equal(_kinds(o), _kinds(t)):
            return math.inf
        if t.numel():
            difference = float((_finite(o) - _finite(t)).abs().max())
            worst = max(worst, difference / (max(size, least) or 1.0))
    return worst


def _finite(tensor: Tensor) -> Tensor:
    return tensor.detach().double().nan_to_num(0.0, 0.0, 0.0)


def _kinds(tensor: Tensor) -> Tensor:
    """Which entries are not finite, and how."""
    return torch.stack([tensor.isnan(), tensor == math.inf, tensor == -math.inf])
