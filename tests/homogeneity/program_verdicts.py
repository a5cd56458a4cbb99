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
from programs import off_grid
from recorder import record
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg

from captum_xdnn import XIntegratedGradients
from captum_xdnn.errors import TraceError
from captum_xdnn.homogeneity import registry, tracing
from captum_xdnn.homogeneity.analysis import Analysis, analyse
from captum_xdnn.homogeneity.knowledge import known_baseline
from captum_xdnn.homogeneity.limits import Unavailable
from captum_xdnn.homogeneity.motion import Affine, Fixed, Motion, Power
from captum_xdnn.homogeneity.tracing import Traced

EXACT = (1 / 4, 1 / 64)
"""Scaling by powers of four rounds nothing, not even under a square root."""

WHOLE = (*EXACT, 0.3)
CLOSE = 1e-7
COARSE = 1e-3
"""Tolerance where a program computes a part in float32."""

SMALL = 1e-6
"""Relative to the largest number in a run: parts that cancel leave rounding, not laws."""

ROUNDING = 1e-9
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
    offered = [program.baselines] + ([zero] if any(map(_moved, program.baselines)) else [])
    certified = False
    for baselines in offered:
        analysis = _analyse(program, traced, baselines)
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


class Run:
    """A program on the ray between baselines and inputs."""

    def __init__(
        self, program: Program, inputs: Sequence[Tensor], baselines: Sequence[Any]
    ) -> None:
        self.program = program
        self.inputs = tuple(inputs)
        self.baselines = tuple(baselines)
        self.close = COARSE if program.rough else CLOSE
        self.least = 0.0
        """Numbers smaller than this may be nothing but rounding."""

    def place(self, a: float) -> list[Tensor]:
        """The inputs at a point of the ray."""
        return [
            b + a * (x - b) if _moved(b) else a * x
            for x, b in zip(self.inputs, self.baselines, strict=True)
        ]

    def value(self, a: float) -> Tensor:
        """The explained output."""
        with torch.no_grad():
            return self._select(self.program(*self.place(a), *self.program.arguments))

    def gradient(self, a: float) -> tuple[Tensor, ...]:
        """The gradient of the summed output with respect to each input."""
        leaves = [z.requires_grad_() for z in map(torch.clone, self.place(a))]
        total = self._select(self.program(*leaves, *self.program.arguments)).sum()
        found = torch.autograd.grad(total, leaves, allow_unused=True)
        return tuple(
            torch.zeros_like(z) if g is None else g for z, g in zip(leaves, found, strict=True)
        )

    def nearby(self, seed: int) -> Run:
        """The same at inputs that differ by rounding."""
        generator = torch.Generator().manual_seed(seed)
        noise = [1 + 1e-12 * off_grid(generator, *x.shape) for x in self.inputs]
        moved = [x * n for x, n in zip(self.inputs, noise, strict=True)]
        run = Run(self.program, moved, self.baselines)
        run.least = self.least
        return run

    def name(self, what: str, analysis: Analysis) -> str:
        """A message with everything that a person needs to see it again."""
        return (
            f"{what}\n{self.program!r}\nbaselines {self.baselines}\ninputs {self.inputs}\n"
            f"{analysis.certificate}"
        )

    def _select(self, output: Tensor) -> Tensor:
        return output if self.program.target is None else output[:, self.program.target]


def quadrature(degree: float, denominator: int, nodes: int) -> list[tuple[float, float]]:
    """Points and weights of the sum; see ``attributions``."""
    roots, weights = np.polynomial.legendre.leggauss(max(nodes, int(degree * denominator) + 1))
    return [
        (u**denominator, w * denominator * u ** (denominator - 1))
        for u, w in zip(((roots + 1) / 2).tolist(), (weights / 2).tolist(), strict=True)
    ]


def attributions(run: Run, degree: float, denominator: int, nodes: int) -> tuple[Tensor, ...]:
    """Integrated Gradients as an explicit Gauss-Legendre sum in float64.

    With ``a = u**m`` for the denominator ``m`` of the degree, the integrand of a homogeneous
    function is a polynomial in ``u``, of which the sum is the exact integral.
    """
    total = [torch.zeros_like(x) for x in run.inputs]
    for point, weight in quadrature(degree, denominator, nodes):
        for entry, gradient in zip(total, run.gradient(point), strict=True):
            entry += weight * gradient
    return tuple(t * (x - b) for t, x, b in zip(total, run.inputs, run.baselines, strict=True))


def _judge_certificate(run: Run, analysis: Analysis, tally: Tally) -> None:
    """The law of the output's values and gradients, on the program itself."""
    certificate = analysis.certificate
    motion: Motion = Affine() if certificate.affine else Power(certificate.degree or 1)
    at_1 = run.value(1.0)
    at_0 = run.value(0.0) if certificate.affine else None
    for a in WHOLE:
        scale = max(run.least, _size(at_0))
        gap = disagreement(run.value(a), expected(motion, a, at_1, at_0), scale)
        if gap is None:
            tally.counts["not finite"] += 1
        elif gap > run.close and _stable(run, Run.value, (a,), gap):
            tally.wrong.append(run.name(f"{motion}, but off by {gap:.1e} at {a}", analysis))
            return
    if certificate.affine:
        _judge_value_at_baseline(run, analysis, tally)
    try:
        whole = _joined(run.gradient(1.0))
        for a in EXACT:
            law = expected(gradient_motion(motion), a, whole, None)
            gap = disagreement(_joined(run.gradient(a)), law, run.least)
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
    gap = disagreement(read, run.value(0.0), max(run.least, _size(run.value(1.0))))
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
        gap = disagreement(mine, exact, max(run.least, _size(run.value(1.0))))
        if gap is None:
            tally.counts["not finite"] += 1
            continue
        tally.counts["attributions"] += 1
        if gap > run.close and _stable(run, _gradient, points, gap):
            tally.wrong.append(run.name(f"attributions are off by {gap:.1e}", analysis))
    if program.cut:
        return
    start = run.value(0.0) if analysis.certificate.affine else torch.zeros(())
    change = float((run.value(1.0) - start).sum())
    total = float(sum(part.sum() for part in got))
    mass = float(sum(part.abs().sum() for part in got)) + abs(change) + _size(start)
    allowed = run.close * mass + ROUNDING
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
    run.least = SMALL * max(map(_size, tables[1.0].values()), default=0.0)
    for node, motion in claims.items():
        at_1 = tables[1.0][node]
        at_0 = tables[0.0][node] if isinstance(motion, Affine) else None
        for a in EXACT:
            scale = max(run.least, _size(at_0))
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


def interpret(traced: Traced, run: Run, a: float) -> dict[Node, Any]:
    """The value of every node at a point of the ray; without those that fail at the baseline."""
    values: dict[Node, Any] = {node: held for node, (_, held) in traced.constants.items()}
    values.update(zip(traced.inputs, run.place(a), strict=True))
    tensors = [c for c in run.program.arguments if isinstance(c, Tensor)]
    values.update(zip(traced.arguments, tensors, strict=True))
    with torch.no_grad():
        for node in traced.graph.nodes:
            if node.op != "call_function" or not values.keys() >= set(node.all_input_nodes):
                continue
            args = map_arg(node.args, values.__getitem__)
            kwargs = map_arg(node.kwargs, values.__getitem__)
            try:
                values[node] = node.target(*args, **kwargs)
            except RuntimeError:
                if a:
                    raise
    return values


def _analyse(program: Program, traced: Traced, baselines: Sequence[Any]) -> Analysis:
    starts = tuple(known_baseline(b) for b in baselines)
    tensors = [c for c in program.arguments if isinstance(c, Tensor)]
    return analyse(traced, len(program.inputs[0]), starts, tensors)


def _stable(
    run: Run, function: Callable[[Run, float], Tensor], points: Sequence[float], gap: float
) -> bool:
    """Whether a gap is more than what rounding does to the numbers: at a kink it is not."""
    for near in (run.nearby(1), run.nearby(2)):
        for point in {1.0, *points}:
            noise = disagreement(function(run, point), function(near, point))
            if noise is not None and gap < 100 * noise:
                return False
    return True


def _gradient(run: Run, a: float) -> Tensor:
    return _joined(run.gradient(a))


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.flatten() for part in parts])


def _size(tensor: Any) -> float:
    if not isinstance(tensor, Tensor) or not tensor.numel() or not tensor.is_floating_point():
        return 0.0
    return float(tensor.abs().nan_to_num(0.0, 0.0).max())


def _moved(baseline: Any) -> bool:
    return isinstance(baseline, Tensor) or baseline != 0
