"""One program, claimed by the engine and measured: values, gradients, attributions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from laws_in_numbers import disagreement, expected, gradient_motion, moves
from program_builder import Program
from program_hoisting import judge_hoisting
from program_runs import Run, attributions, interpret, is_moved, joined, limit, quadrature, size_of
from programs import off_grid
from recorder import record
from torch import Tensor

from captum_xdnn import XIntegratedGradients
from captum_xdnn.errors import NotHomogeneousError
from captum_xdnn.proof.baseline_values import Unavailable
from captum_xdnn.proof.domain import Affine, Fixed, Motion, Power
from captum_xdnn.proof.nodes import draws
from captum_xdnn.proof.verdict import Verdict
from captum_xdnn.proof.watching import Watched
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.steps import TensorInfo

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


def judge(program: Program, tally: Tally, *, nodes: int = NODES) -> None:
    """Hold every claim on one program against numbers.

    Args:
        program: The program.
        tally: Where to enter what was found.
        nodes: Number of nodes of the quadrature.
    """
    tally.counts["programs"] += 1
    tally.kinds.update(program.kinds)
    generator = torch.Generator().manual_seed(program.seed + 1)
    others = tuple(off_grid(generator, *x.shape) for x in program.inputs)
    zero = tuple(0 for _ in program.inputs)
    offered = [program.baselines] + ([zero] if any(map(is_moved, program.baselines)) else [])
    certified = False
    for baselines in offered:
        for x in (program.inputs, others):
            watched = record(program, x, baselines, program.arguments)
            if watched.error is not None:
                tally.counts["not run"] += 1
                continue
            verdict = _verdict(watched)
            tally.counts["verdicts"] += 1
            run = Run(program, x, baselines)
            _judge_nodes(run, watched, tally)
            if not verdict.homogeneous:
                if x is others:
                    judge_hoisting(run, watched, tally)
                continue
            _judge_certificate(run, watched, tally)
            certified = True
            tally.counts["positive verdicts"] += 1
            tally.counts[f"{'affine' if verdict.affine else 'homogeneous'}"] += 1
            if x is others:
                _judge_attribution(run, watched, tally, nodes)
    if certified:
        tally.counts["certified programs"] += 1
        tally.certified_kinds.update(program.kinds)


def _verdict(watched: Watched) -> Verdict:
    assert watched.verdict is not None
    return watched.verdict


def _judge_certificate(run: Run, watched: Watched, tally: Tally) -> None:
    """The law of the output's values and gradients, on the program itself."""
    certificate = _verdict(watched)
    motion: Motion = Affine() if certificate.affine else Power(certificate.degree or 1)
    at_1 = run.value(1.0)
    at_0 = limit(run.value(0.0), run.value(EXACT[0]), at_1) if certificate.affine else None
    for a in WHOLE:
        scale = max(run.least, size_of(at_0))
        gap = disagreement(run.value(a), expected(motion, a, at_1, at_0), scale)
        if gap is None:
            tally.counts["not finite"] += 1
        elif gap > run.close and _stable(run, Run.value, (a,), gap):
            tally.wrong.append(run.name(f"{motion}, but off by {gap:.1e} at {a}", watched))
            return
    if certificate.affine:
        _judge_value_at_baseline(run, watched, tally)
    try:
        whole = joined(run.gradient(1.0))
        for a in EXACT:
            law = expected(gradient_motion(motion), a, whole, None)
            gap = disagreement(joined(run.gradient(a)), law, run.least)
            if gap is not None and gap > run.close and _stable(run, _gradient, (a,), gap):
                text = f"{motion}, but gradients off by {gap:.1e} at {a}"
                tally.wrong.append(run.name(text, watched))
                return
    except RuntimeError as error:
        if not any(reason in str(error) for reason in NO_GRADIENT):
            raise


def _judge_value_at_baseline(run: Run, watched: Watched, tally: Tally) -> None:
    assert watched.given is not None
    try:
        value = _verdict(watched).value_at_baseline(watched.given)
    except Unavailable:
        tally.counts["no value at the baseline"] += 1
        return
    read = run._select(value)
    start = limit(run.value(0.0), run.value(EXACT[0]), run.value(1.0))
    gap = disagreement(read, start, max(run.least, size_of(run.value(1.0))))
    if gap is not None and gap > run.close:
        tally.wrong.append(run.name(f"value at the baseline is off by {gap:.1e}", watched))


def _judge_attribution(run: Run, watched: Watched, tally: Tally, nodes: int) -> None:
    """The single pass against an explicit sum, and its completeness."""
    program = run.program
    xig = XIntegratedGradients(program, strategy="single_pass", verify=False)
    try:
        got = xig.attribute(
            run.inputs,
            baselines=run.baselines,
            target=program.target,
            additional_forward_args=program.arguments or None,
        )
    except NotHomogeneousError as error:
        tally.counts[f"the route refuses: {error}"] += 1
        return
    except RuntimeError as error:
        if any(reason in str(error) for reason in NO_GRADIENT):
            tally.counts["no gradient"] += 1
            return
        raise
    assert xig.last_route == "single_pass"
    degree = _verdict(watched).degree
    assert degree is not None
    reference = attributions(run, float(degree), degree.denominator, nodes)
    points = [a for a, _ in quadrature(float(degree), degree.denominator, nodes)]
    for mine, exact in zip(got, reference, strict=True):
        gap = disagreement(mine, exact, max(run.least, size_of(run.value(1.0))))
        if gap is None:
            tally.counts["not finite"] += 1
            continue
        tally.counts["attributions"] += 1
        if gap > run.close and _stable(run, _gradient, points, gap):
            tally.wrong.append(run.name(f"attributions are off by {gap:.1e}", watched))
    if not program.cut:
        _judge_completeness(run, watched, tally, got)


def _judge_completeness(run: Run, watched: Watched, tally: Tally, got: tuple[Tensor, ...]) -> None:
    start = torch.zeros(())
    if _verdict(watched).affine:
        start = limit(run.value(0.0), run.value(EXACT[0]), run.value(1.0))
    change = float((run.value(1.0) - start).sum())
    total = float(sum(part.sum() for part in got))
    mass = float(sum(part.abs().sum() for part in got)) + abs(change) + size_of(start)
    allowed = run.close * mass + (ROUNDING_COARSE if run.program.rough else ROUNDING)
    if np.isfinite(total) and np.isfinite(change) and abs(total - change) > allowed:
        if not _is_the_derivative(run, float(_verdict(watched).degree or 1) * total):
            tally.counts["torch's own gradient is wrong"] += 1
            return
        text = f"attributions add up to {total}, not {change}"
        tally.wrong.append(run.name(text, watched))


STEP = 2.0**-18


def _is_the_derivative(run: Run, slope: float) -> bool:
    """Whether autograd's derivative along the ray is that of the values: torch's kernels have faults of their own.

    The backward pass of ``batch_norm`` in eval mode, for one, is wrong on the CPU for a gradient that lies in
    memory as a transposed tensor does, where a length is 1 (torch 2.13 and 2.14).
    """
    ends = [float(run.value(1 + side * STEP).sum()) for side in (-1, 1)]
    numeric = (ends[1] - ends[0]) / (2 * STEP)
    return abs(numeric - slope) <= 1e-3 * (abs(numeric) + abs(slope))


def _judge_nodes(run: Run, watched: Watched, tally: Tally) -> None:
    """Every motion that is proved, of whatever tensor inside; and that the graph is the run."""
    verdict = _verdict(watched)
    propagation, nodes = verdict.propagation, verdict.graph.nodes
    claims = {
        node: motion
        for node in nodes
        if node in propagation.motions
        and not node.flaw
        and isinstance(node.value, TensorInfo)
        and moves(motion := propagation.proved(node))
        and not (isinstance(motion, Fixed) and node.op != "call_function")
    }
    points = (1.0, *EXACT, *([0.0] if Affine() in claims.values() else []))
    tables = {a: interpret(watched, run, a) for a in points}
    small = SMALL_COARSE if run.program.rough else SMALL
    run.least = small * max(map(size_of, tables[1.0].values()), default=0.0)
    if not any(node.op == "call_function" and draws(node) for node in nodes):
        _judge_graph(run, watched, tables[1.0], tally)
    told = {n: m for n, m in claims.items() if n in tables[1.0] and n in tables[EXACT[0]]}
    tally.counts["claims without numbers"] += len(claims) - len(told)
    doubtful = _doubtful(run, told, tables)
    tally.counts["claims inside"] += len(EXACT) * (len(told) - len(doubtful))
    for node in doubtful:
        motion, at_1 = told[node], tables[1.0][node]
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
                run, lambda r, place, n=node: interpret(watched, r, place)[n], (a,), gap
            ):
                text = f"{node.format_node()}: {motion}, but off by {gap:.1e} at {a}"
                tally.wrong.append(run.name(text, watched))
                return


def _doubtful(
    run: Run, claims: dict[Node, Motion], tables: dict[float, dict[Node, Tensor]]
) -> list[Node]:
    """Those that one comparison of all numbers at once does not find in order: see each by itself."""
    plain: dict[bool, list[Node]] = {True: [], False: []}
    for node, motion in claims.items():
        values = [tables[a].get(node) for a in _places(motion)]
        if _are_plain(values):
            plain[isinstance(motion, Affine)].append(node)
    fine: set[Node] = set()
    for nodes in filter(None, plain.values()):
        held = _hold(
            run,
            [claims[node] for node in nodes],
            [[*map(tables[a].get, nodes)] for a in _places(claims[nodes[0]])],
        )
        fine.update(node for node, holds in zip(nodes, held, strict=True) if holds)
    return [node for node in claims if node not in fine]


def _places(motion: Motion) -> tuple[float, ...]:
    """Where on the ray a claim is held against numbers."""
    return (1.0, *EXACT, 0.0) if isinstance(motion, Affine) else (1.0, *EXACT)


def _hold(run: Run, motions: list[Motion], values: list[list[Any]]) -> list[bool]:
    """Which claims hold, of values at each place; either all are of affine tensors or none."""
    lengths = torch.tensor([value.numel() for value in values[0]])
    at_1, *seen = (torch.cat([value.flatten() for value in at]) for at in values)
    least, start = torch.tensor(max(run.least, 1e-200), dtype=torch.float64), None
    if isinstance(motions[0], Affine):
        start = limit(seen.pop(), seen[0], at_1)
        least = least.maximum(_largest(start.nan_to_num(0.0, 0.0, 0.0), lengths))
    holds = torch.ones(len(motions), dtype=torch.bool)
    for a, at_a in zip(EXACT, seen, strict=True):
        if start is not None:
            law = expected(motions[0], a, at_1, start)
        else:
            shares = [float(expected(m, a, torch.ones(()).double(), None)) for m in motions]
            law = at_1 * torch.tensor(shares, dtype=torch.float64).repeat_interleave(lengths)
        gap = _largest(at_a - law, lengths)
        size = _largest(law.abs().maximum(at_a.abs()), lengths).maximum(least)
        holds &= gap.isfinite() & (gap <= run.close * size)
    return holds.tolist()


def _are_plain(values: list[Tensor | None]) -> bool:
    """Whether these are numbers in float64, as many in each."""
    first = values[0]
    return first is not None and all(
        v is not None and v.dtype == torch.float64 and v.shape == first.shape and v.numel()
        for v in values
    )


def _largest(numbers: Tensor, lengths: Tensor) -> Tensor:
    """The largest size in each of several parts; NaN where there is one."""
    return torch.segment_reduce(numbers.abs(), "max", lengths=lengths)


def _judge_graph(run: Run, watched: Watched, values: dict[Node, Tensor], tally: Tally) -> None:
    """The operations of the graph, one after the other, give what the program gave."""
    output = _verdict(watched).graph.output
    if output is None or output not in values:
        tally.counts["graphs without numbers"] += 1
        return
    tally.counts["graphs"] += 1
    gap = disagreement(values[output], watched.output.detach(), run.least)
    if gap is not None and gap > run.close and _stable(run, _plain_value, (1.0,), gap):
        tally.wrong.append(run.name(f"the graph gives another output, off by {gap:.1e}", watched))


def _plain_value(run: Run, a: float) -> Tensor:
    return run.value(a)


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
