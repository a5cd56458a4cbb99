"""One program, claimed by the engine and measured: values, gradients, attributions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import torch
from laws_in_numbers import disagreement, expected, gradient_motion, moves
from program_builder import Program
from program_runs import Run, attributions, interpret, is_moved, joined, limit, quadrature, size_of
from programs import off_grid
from recorder import record
from torch import Tensor

from captum_xdnn import XIntegratedGradients
from captum_xdnn.errors import TraceError
from captum_xdnn.homogeneity import registry, tracing
from captum_xdnn.homogeneity.analysis import Analysis, analyse
from captum_xdnn.homogeneity.calls import known_baseline
from captum_xdnn.homogeneity.limits import Unavailable
from captum_xdnn.homogeneity.motion import Affine, Fixed, Motion, Power
from captum_xdnn.homogeneity.tracing import Traced

EXACT = (1 / 4, 1 / 64)
"""Scaling by powers of four rounds nothing, not even under a square root."""

WHOLE = (*EXACT, 0.3)
SMALL, SMALL_COARSE = 1e-6, 1e-2
"""Relative to the largest number in a run: parts that cancel leave rounding, not laws."""

ROUNDING, ROUNDING_COARSE = 1e-9, 1e-5
"""What sums of large parts that cancel may leave."""

NODES = 8
NO_GRADIENT = ("appears to not have been used", "does not require grad", "is not implemented")


@dataclass
class Tally:
    """What a run over programs found.

    Attributes:
        counts: How often what happened.
        kinds: How many programs had a step of a kind.
        certified_kinds: How many certified programs had.
        wrong: Claims that the numbers contradict.
    """

    counts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    certified_kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def judge(
    program: Program, tally: Tally, trace: Callable[..., Traced] = record, *, nodes: int = NODES
) -> None:
    """Hold every claim on one program against numbers.

    Args:
        program: The program.
        tally: Where to enter what was found.
        trace: The tracer.
        nodes: Number of nodes of the quadrature.
    """
    tally.counts["programs"] += 1
    tally.kinds.update(program.kinds)
    try:
        traced = trace(program, program.inputs, program.arguments)
    except TraceError:
        tally.counts["not traced"] += 1
        return
    generator = torch.Generator().manual_seed(program.seed + 1)
    others = tuple(off_grid(generator, *x.shape) for x in program.inputs)
    zero = tuple(0 for _ in program.inputs)
    offered = [program.baselines] + ([zero] if any(map(is_moved, program.baselines)) else [])
    certified = False
    for baselines in offered:
        analysis = analysed(program, traced, baselines)
        tally.counts["verdicts"] += 1
        for x in (program.inputs, others):
            run = Run(program, x, baselines)
            _judge_nodes(run, traced, analysis, tally)
            if analysis.certificate.homogeneous:
                _judge_certificate(run, analysis, tally)
        if analysis.certificate.homogeneous:
            certified = True
            tally.counts["positive verdicts"] += 1
            tally.counts[f"{'affine' if analysis.certificate.affine else 'homogeneous'}"] += 1
            _judge_attribution(run, traced, analysis, tally, nodes)
    if certified:
        tally.counts["certified programs"] += 1
        tally.certified_kinds.update(program.kinds)


def _judge_certificate(run: Run, analysis: Analysis, tally: Tally) -> None:
    """The law of the output's values and gradients, on the program itself."""
    certificate = analysis.certificate
    motion: Motion = Affine() if certificate.affine else Power(certificate.degree or 1)
    at_1 = run.value(1.0)
    at_0 = limit(run.value(0.0), run.value(EXACT[0]), at_1) if certificate.affine else None
    for a in WHOLE:
        scale = max(run.least, size_of(at_0))
        gap = disagreement(run.value(a), expected(motion, a, at_1, at_0), scale)
        if gap is None:
            tally.counts["not finite"] += 1
        elif gap > run.close and _stable(run, Run.value, (a,), gap):
            tally.wrong.append(run.name(f"{motion}, but off by {gap:.1e} at {a}", analysis))
            return
    if certificate.affine:
        _judge_value_at_baseline(run, analysis, tally)
    try:
        whole = joined(run.gradient(1.0))
        for a in EXACT:
            law = expected(gradient_motion(motion), a, whole, None)
            gap = disagreement(joined(run.gradient(a)), law, run.least)
            if gap is not None and gap > run.close and _stable(run, _gradient, (a,), gap):
                text = f"{motion}, but gradients off by {gap:.1e} at {a}"
                tally.wrong.append(run.name(text, analysis))
                return
    except RuntimeError as error:
        if not any(reason in str(error) for reason in NO_GRADIENT):
            raise


def _judge_value_at_baseline(run: Run, analysis: Analysis, tally: Tally) -> None:
    starts = [known_baseline(b) for b in run.baselines]
    tensors = [c for c in run.program.arguments if isinstance(c, Tensor)]
    try:
        value = analysis.value_at_baseline(len(run.inputs[0]), starts, tensors)
    except Unavailable:
        tally.counts["no value at the baseline"] += 1
        return
    read = run._select(value)
    start = limit(run.value(0.0), run.value(EXACT[0]), run.value(1.0))
    gap = disagreement(read, start, max(run.least, size_of(run.value(1.0))))
    if gap is not None and gap > run.close:
        tally.wrong.append(run.name(f"value at the baseline is off by {gap:.1e}", analysis))


def _judge_attribution(
    run: Run, traced: Traced, analysis: Analysis, tally: Tally, nodes: int
) -> None:
    """The single pass against an explicit sum, and its completeness."""
    program = run.program
    xig = XIntegratedGradients(program, strategy="single_pass", verify=False)
    try:
        with mock.patch.object(tracing, "trace", return_value=traced):
            got = xig.attribute(
                run.inputs,
                baselines=run.baselines,
                target=program.target,
                additional_forward_args=program.arguments or None,
            )
    except RuntimeError as error:
        if any(reason in str(error) for reason in NO_GRADIENT):
            tally.counts["no gradient"] += 1
            return
        raise
    degree = analysis.certificate.degree
    reference = attributions(run, float(degree), degree.denominator, nodes)
    points = [a for a, _ in quadrature(float(degree), degree.denominator, nodes)]
    for mine, exact in zip(got, reference, strict=True):
        gap = disagreement(mine, exact, max(run.least, size_of(run.value(1.0))))
        if gap is None:
            tally.counts["not finite"] += 1
            continue
        tally.counts["attributions"] += 1
        if gap > run.close and _stable(run, _gradient, points, gap):
            tally.wrong.append(run.name(f"attributions are off by {gap:.1e}", analysis))
    if program.cut:
        return
    start = torch.zeros(())
    if analysis.certificate.affine:
        start = limit(run.value(0.0), run.value(EXACT[0]), run.value(1.0))
    change = float((run.value(1.0) - start).sum())
    total = float(sum(part.sum() for part in got))
    mass = float(sum(part.abs().sum() for part in got)) + abs(change) + size_of(start)
    allowed = run.close * mass + (ROUNDING_COARSE if program.rough else ROUNDING)
    if np.isfinite(total) and np.isfinite(change) and abs(total - change) > allowed:
        text = f"attributions add up to {total}, not {change}"
        tally.wrong.append(run.name(text, analysis))


def _judge_nodes(run: Run, traced: Traced, analysis: Analysis, tally: Tally) -> None:
    """Every motion that is proved, of whatever tensor inside."""
    propagation = analysis.propagation
    if propagation is None:
        return
    claims = {
        node: motion
        for node in traced.graph.nodes
        if node in propagation.motions
        and isinstance(node.meta.get("val"), Tensor)
        and moves(motion := propagation.proved(node))
        and not (isinstance(motion, Fixed) and node.op != "call_function")
        and str(node.target) not in registry.VOLATILE
    }
    points = (1.0, *EXACT, *([0.0] if Affine() in claims.values() else []))
    tables = {a: interpret(traced, run, a) for a in points}
    small = SMALL_COARSE if run.program.rough else SMALL
    run.least = small * max(map(size_of, tables[1.0].values()), default=0.0)
    for node, motion in claims.items():
        at_1 = tables[1.0][node]
        at_0 = None
        if isinstance(motion, Affine):
            at_0 = limit(tables[0.0].get(node), tables[EXACT[0]][node], at_1)
        for a in EXACT:
            scale = max(run.least, size_of(at_0))
            gap = disagreement(tables[a][node], expected(motion, a, at_1, at_0), scale)
            if gap is None:
                continue
            tally.counts["claims inside"] += 1
            if gap > run.close and _stable(
                run, lambda r, place, n=node: interpret(traced, r, place)[n], (a,), gap
            ):
                text = f"{node.format_node()}: {motion}, but off by {gap:.1e} at {a}"
                tally.wrong.append(run.name(text, analysis))
                return


def analysed(program: Program, traced: Traced, baselines: Sequence[Any]) -> Analysis:
    """What the engine claims of a program from these baselines."""
    starts = tuple(known_baseline(b) for b in baselines)
    tensors = [c for c in program.arguments if isinstance(c, Tensor)]
    return analyse(traced, len(program.inputs[0]), starts, tensors)


def _stable(
    run: Run, function: Callable[[Run, float], Tensor], points: Sequence[float], gap: float
) -> bool:
    """Whether a gap is more than what rounding does to the numbers: at a kink it is not.

    Parts that are equal but for rounding (two ways to one number, under an argmax) change places
    at every second input nearby: at one of eight they will.
    """
    for near in map(run.nearby, range(1, 9)):
        for point in {1.0, *points}:
            noise = disagreement(function(run, point), function(near, point))
            if noise is not None and gap <= 100 * noise:  # both infinite where indices change
                return False
    return True


def _gradient(run: Run, a: float) -> Tensor:
    return joined(run.gradient(a))
