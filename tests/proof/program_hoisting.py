"""Programs that are refused, hoisted by force: the numbers must be Captum's for the same points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from captum.attr import IntegratedGradients
from laws_in_numbers import disagreement
from program_runs import Run, joined
from recorder import record

from captum_xdnn import XIntegratedGradients
from captum_xdnn.routes import plan

if TYPE_CHECKING:
    from program_verdicts import Tally
    from torch import Tensor

    from captum_xdnn.proof.watching import Watched

STEPS = 4
METHODS = ("gausslegendre", "riemann_trapezoid", "riemann_middle")
NO_GRADIENT = (
    "appears to not have been used",
    "does not require grad",
    "is not implemented",
    "invalid gradient",
)


class _LeftToCaptumError(Exception):
    """Captum's code would run."""


def _leave(*_: Any, **__: Any) -> None:
    raise _LeftToCaptumError


def judge_hoisting(run: Run, watched: Watched, tally: Tally) -> None:
    """Compare a hoisted call with Captum's, of which each pass holds the rows of one step.

    Args:
        run: The program between baselines and inputs.
        watched: Its run at the inputs.
        tally: Where to enter what was found.
    """
    verdict = watched.verdict
    if verdict is None or plan.plan_of(verdict) is None:
        tally.counts["without a plan"] += 1
        return
    if len(run.inputs[0]) > 1 and not verdict.keeps_rows_apart:
        _judge_one_example(run, tally)
        return
    method = METHODS[run.program.seed % len(METHODS)]
    together = bool(run.program.seed // 3 % 2)
    try:
        reference = captum_at(run, method)
    except (RuntimeError, AssertionError) as error:
        if isinstance(error, RuntimeError) and not any(r in str(error) for r in NO_GRADIENT):
            raise
        tally.counts["no gradient"] += 1
        return
    got = hoisted_at(run, method, together=together)
    if got is None:
        tally.counts["not hoisted"] += 1
        return
    tally.counts["hoisted"] += 1
    for mine, theirs in zip(got, reference, strict=True):
        gap = disagreement(mine, theirs, run.least)
        if gap is None:
            tally.counts["not finite"] += 1
        elif gap > 10 * run.close and _stable(run, method, gap):
            text = f"hoisted, {method}, together {together}, but off by {gap:.1e} of Captum's"
            tally.wrong.append(run.name(text, watched))
            return


def _judge_one_example(run: Run, tally: Tally) -> None:
    """Rows meet in the program: one row is hoisted nevertheless."""
    tally.counts["rows meet"] += 1
    if any(isinstance(a, torch.Tensor) for a in run.program.arguments):
        return
    inputs = tuple(x[:1] for x in run.inputs)
    starts = tuple(b[:1] if isinstance(b, torch.Tensor) else b for b in run.baselines)
    one = Run(run.program, inputs, starts)
    one.least = run.least
    watched = record(run.program, inputs, starts, run.program.arguments)
    verdict = watched.verdict
    if verdict is not None and not verdict.homogeneous:
        judge_hoisting(one, watched, tally)


def captum_at(run: Run, method: str) -> tuple[Tensor, ...]:
    """Captum's numbers."""
    reference: Any = IntegratedGradients(run.program)
    found: tuple[Tensor, ...] = reference.attribute(
        run.inputs, **_arguments(run, method), internal_batch_size=len(run.inputs[0])
    )
    return found


def hoisted_at(run: Run, method: str, *, together: bool) -> tuple[Tensor, ...] | None:
    """The hoisted numbers; None where the call was not hoisted."""
    xig = XIntegratedGradients(run.program)
    bound = None if together else len(run.inputs[0])
    with (
        mock.patch.object(plan, "WORTH_IT", 0.0),
        mock.patch.object(plan, "CERTAIN", 0.0),
        mock.patch.object(XIntegratedGradients, "_integrate", _leave),
    ):
        try:
            found: tuple[Tensor, ...] = xig.attribute(
                run.inputs, **_arguments(run, method), internal_batch_size=bound
            )
        except _LeftToCaptumError:
            return None
    assert xig.last_route == "hoisted"
    return found


def _arguments(run: Run, method: str) -> dict[str, Any]:
    return {
        "baselines": run.baselines,
        "target": run.program.target,
        "additional_forward_args": run.program.arguments or None,
        "n_steps": STEPS,
        "method": method,
    }


def _stable(run: Run, method: str, gap: float) -> bool:
    """Whether a gap is more than what rounding does to Captum's numbers: at a kink it is not."""
    here = joined(captum_at(run, method))
    for near in map(run.nearby, range(1, 9)):
        noise = disagreement(here, joined(captum_at(near, method)))
        if noise is not None and gap <= 100 * noise:
            return False
    return bool(torch.isfinite(here).any())
