"""Analysis: a certificate for one traced function, with all that its validity hangs on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Node

from captum_xdnn.homogeneity.blocker import Blocker, blocker_of, place
from captum_xdnn.homogeneity.certificate import Certificate
from captum_xdnn.homogeneity.limits import ARGUMENT, BATCH, Limits, Unavailable
from captum_xdnn.homogeneity.motion import FIXED, Affine, Motion, Power
from captum_xdnn.homogeneity.piecewise_linear import is_piecewise_linear
from captum_xdnn.homogeneity.propagation import Propagation, propagate

if TYPE_CHECKING:
    from captum_xdnn.homogeneity.plan import Plan
    from captum_xdnn.homogeneity.tracing import Traced

BASELINE = "baseline "
"""Prefix of the sources that are baselines of the call."""

STEPS = 50
"""Captum's number of steps, for which the gain of hoisting is stated."""

Baseline = Tensor | float | int
"""One input's baseline; the number 0 wherever it is zero by value."""


@dataclass(frozen=True)
class Outline:
    """What of a graph counts where it is not there.

    Attributes:
        sizes: Batch sizes that it holds for.
        coarsest: The largest unit of rounding among its floating dtypes.
    """

    sizes: frozenset[int]
    coarsest: float


@dataclass(frozen=True)
class Analysis:
    """A certificate and what it depends on.

    Attributes:
        certificate: The verdict.
        traced: The graph it was read from; None if there is none.
        propagation: The motions in the graph; None if there is no graph.
        size: The batch size for which values at the baseline were computed.
        baselines: The baselines; copies of those whose values were read.
        versions: Tensors whose values were read, with their state at that time.
        sources: Names of everything whose value was read.
        relied: The tensors of the function that were found to be zero, or to leave no shift.
        plan: How the function can be hoisted; None if it cannot.
        outline: What is known of a graph that another process holds; None if this one does.
    """

    certificate: Certificate
    traced: Traced | None = None
    propagation: Propagation | None = None
    size: int = 0
    baselines: tuple[Baseline, ...] = ()
    versions: tuple[tuple[Tensor, Any], ...] = ()
    sources: frozenset[str] = frozenset()
    relied: tuple[Tensor, ...] = ()
    plan: Plan | None = None
    outline: Outline | None = None

    @property
    def coarsest(self) -> float:
        """The largest unit of rounding among the floating dtypes in the graph; 0 without one."""
        known = self.traced or self.outline
        return 0.0 if known is None else known.coarsest

    def mixes_examples(self) -> bool:
        """Whether dimension 0 of the inputs is no batch."""
        return self.traced is not None and self.traced.mixes_examples()

    def is_current(self) -> bool:
        """Whether the tensors whose values were read are as they were."""
        return all(version_of(tensor) == seen for tensor, seen in self.versions)

    def covers(self, size: int, baselines: Sequence[Baseline]) -> bool:
        """Whether the verdict holds for this batch size and these baselines."""
        if size != self.size and BATCH in self.sources:
            return False
        if self.outline is not None and size not in self.outline.sizes:
            return False
        for index, (mine, given) in enumerate(zip(self.baselines, baselines, strict=True)):
            if is_zero_number(mine) != is_zero_number(given):
                return False
            if f"{BASELINE}{index}" in self.sources and not _same(mine, given):
                return False
        return True

    def is_piecewise_linear(self) -> bool:
        """Whether the function's second derivative by its inputs is zero wherever it exists."""
        return self.traced is not None and is_piecewise_linear(self.traced)

    def value_at_baseline(
        self, size: int, baselines: Sequence[Baseline], arguments: Sequence[Tensor]
    ) -> Any:
        """The function's output at the baseline, read off the graph without a full pass.

        Homogeneous parts are zero there, so only what is affine is computed.

        Raises:
            Unavailable: If it cannot be computed.
        """
        if self.traced is None or self.propagation is None:
            message = "there is no graph to read a value from"
            raise Unavailable(message)
        limits = _limits(self.traced, size, baselines, arguments)
        for node, motion in self.propagation.motions.items():
            if isinstance(motion, Motion):
                limits.track(node, motion)
        return limits.value(self.traced.output)


def analyse(
    traced: Traced, size: int, baselines: Sequence[Baseline], arguments: Sequence[Tensor]
) -> Analysis:
    """Certify a traced function for these baselines.

    Args:
        traced: The graph.
        size: The batch size of the call.
        baselines: For each input, the number 0 if its baseline is zero, else its baseline.
        arguments: The tensors among the additional arguments, in order.
    """
    limits = _limits(traced, size, baselines, arguments)
    motions: dict[Node, Motion] = {}
    shifts: dict[Node, str] = {}
    for index, (node, baseline) in enumerate(zip(traced.inputs, baselines, strict=True)):
        motions[node] = Power(1) if is_zero_number(baseline) else Affine()
        shifts[node] = f"the baseline of input {index} is not zero"
    propagation = propagate(traced, limits, motions, shifts)
    sources = frozenset(limits.relied | limits.seen)
    held = dict(traced.constants.values())
    versions = tuple((held[s], version_of(held[s])) for s in sorted(sources & held.keys()))
    certificate = _verdict(traced, propagation, limits)
    # What counts operations takes long to import; the tracer has just taken longer.
    from captum_xdnn.homogeneity.plan import plan_of
    from captum_xdnn.homogeneity.strip import strip_of

    plan = None if certificate.homogeneous else plan_of(traced, propagation)
    blocking = () if certificate.homogeneous else _blocking(traced, propagation)
    strip = strip_of(traced, plan, blocking, homogeneous=certificate.homogeneous)
    return Analysis(
        certificate=with_prospect(replace(certificate, strip=strip), plan, size),
        traced=traced,
        propagation=propagation,
        size=size,
        baselines=tuple(
            b.detach().clone() if isinstance(b, Tensor) and f"{BASELINE}{i}" in sources else b
            for i, b in enumerate(baselines)
        ),
        versions=versions,
        sources=sources,
        relied=tuple(held[s] for s in sorted(limits.relied & held.keys())),
        plan=plan,
    )


def with_prospect(certificate: Certificate, plan: Plan | None, size: int) -> Certificate:
    """The certificate with what can be expected of hoisting.

    Args:
        certificate: A certificate without.
        plan: The plan; None if there is none.
        size: The batch size.
    """
    if plan is None:
        return certificate
    pays = plan.pays(size, STEPS)
    return replace(
        certificate,
        trunk_share=plan.trunk_share(),
        speed_up=plan.speed_up(size, STEPS) if pays else 1.0,
    )


def version_of(tensor: Tensor) -> Any:
    """Changes whenever the tensor's content does, as far as torch knows."""
    try:
        return (tensor._version, tensor.data_ptr())
    except RuntimeError:  # inference tensors count no versions: never the same again
        return object()


def is_zero_number(baseline: Baseline) -> bool:
    """Whether a baseline was found to be zero, in the form that ``analyse`` takes."""
    return not isinstance(baseline, Tensor) and baseline == 0


def _same(mine: Baseline, given: Baseline) -> bool:
    if isinstance(mine, Tensor) and isinstance(given, Tensor):
        return mine.shape == given.shape and bool(torch.equal(mine, given))
    return not isinstance(mine, Tensor) and not isinstance(given, Tensor) and mine == given


def _limits(
    traced: Traced, size: int, baselines: Sequence[Baseline], arguments: Sequence[Tensor]
) -> Limits:
    values: dict[Node, Any] = {}
    sources: dict[Node, str] = {}
    for node, (name, tensor) in traced.constants.items():
        values[node], sources[node] = tensor.detach(), name
    for index, (node, tensor) in enumerate(zip(traced.arguments, arguments, strict=True)):
        values[node], sources[node] = tensor.detach(), f"{ARGUMENT}{index}"
    for index, (node, baseline) in enumerate(zip(traced.inputs, baselines, strict=True)):
        if not is_zero_number(baseline):
            values[node] = _expanded(baseline, node.meta["val"], size)
            sources[node] = f"{BASELINE}{index}"
    return Limits(values, sources, traced.sizes(size))


def _expanded(baseline: Baseline, fake: Tensor, size: int) -> Tensor:
    """A baseline in the shape of its input."""
    shape = (size, *(int(n) for n in fake.shape[1:]))
    value = torch.as_tensor(baseline, dtype=fake.dtype, device=fake.device)
    return value.detach().expand(shape).contiguous()


def _verdict(traced: Traced, propagation: Propagation, limits: Limits) -> Certificate:
    blockers = [*_writers(traced)]
    blockers += [blocker_of(o, traced.prefix) for o in propagation.blocking(traced.output)]
    motion = propagation.motions[traced.output]
    if not blockers:
        positive = isinstance(motion, Power) and motion.degree > 0
        if not positive and not isinstance(motion, Affine):
            blockers.append(_still(traced, motion))
    if blockers:
        return Certificate.refused(*blockers)
    relied = tuple(sorted(limits.relied - {BATCH} - _baselines(limits.relied)))
    cut = f"{traced.prefix}." if traced.prefix else ""
    return Certificate(
        homogeneous=True,
        degree=motion.degree if isinstance(motion, Power) else Power(1).degree,
        affine=isinstance(motion, Affine),
        trunk_share=1.0,
        relied=tuple(name.removeprefix(cut) for name in relied),
    )


def _blocking(traced: Traced, propagation: Propagation) -> set[Node]:
    """Where a single pass fails to be exact; the output if nothing in particular stands in the way."""
    obstacles = {o.node for o in propagation.blocking(traced.output)}
    return obstacles | {node for _, node in traced.writes} or {traced.output}


def _baselines(names: set[str]) -> set[str]:
    return {name for name in names if name.startswith(BASELINE)}


def _still(traced: Traced, motion: Any) -> Blocker:
    if motion == FIXED:
        reason = "the output does not depend on the input"
    elif isinstance(motion, Power):
        reason = f"the output is {motion} along the ray: the integral of its gradient diverges"
        if motion.degree == 0:
            reason = "the output does not change along the ray from the baseline"
    else:
        reason = "the function returns something other than one tensor"
    return place(traced.output, traced.prefix, reason, "explain a quantity that grows with it")


def _writers(traced: Traced) -> list[Blocker]:
    """One blocker for each module that writes a buffer, or for a changed input."""
    found: dict[tuple[str, str], Blocker] = {}
    for name, node in traced.writes:
        known = name.rsplit(".", 1)[-1]
        reason, remedy = f"it writes to {known} at every call", "call model.eval()"
        if name in {n.name for n in traced.inputs}:
            reason, remedy = "it changes its input in place", "work on a copy of the input"
        elif name in {n.name for n in traced.arguments}:
            reason, remedy = "it changes an argument in place", "work on a copy of the argument"
        blocker = place(node, traced.prefix, reason, remedy)
        found.setdefault((blocker.module, blocker.module_type), blocker)
    return list(found.values())
