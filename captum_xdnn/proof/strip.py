"""The strip: a run as a row of segments, each the operations of one module, for a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from captum_xdnn.proof.nodes import is_operation
from captum_xdnn.proof.verdict import Verdict
from captum_xdnn.recording.cost import flops_of
from captum_xdnn.recording.node import Node


@dataclass(frozen=True)
class Segment:
    """Consecutive operations of one module.

    Attributes:
        module: Path of the module, such as ``layer1.0.bn1``; empty outside modules.
        module_type: Its class, such as ``BatchNorm2d``; empty outside modules.
        operations: Names of the operations, in the order of the computation.
        share: Share of the floating-point operations of the whole.
        runs_once: Whether they can run once, whatever the number of steps: the trunk.
        blocks: Whether one of them keeps a single pass from being exact.
    """

    module: str
    module_type: str
    operations: tuple[str, ...]
    share: float
    runs_once: bool
    blocks: bool


def strip_of(verdict: Verdict, modules: Sequence[tuple[str, str]]) -> tuple[Segment, ...]:
    """Lay out a run in segments.

    Args:
        verdict: What was proved of it.
        modules: Path and class of the module of each step; empty outside modules.
    """
    graph, plan = verdict.graph, verdict.plan
    nodes = [n for n in graph.nodes if is_operation(n.target) and (n.users or n is graph.output)]
    once = set(nodes) if verdict.homogeneous else set(plan.split.trunk if plan else ())
    blocking: set[Node | None] = {obstacle.node for obstacle in verdict.obstacles}
    blocking = blocking or {graph.output}
    work = {node: flops_of(node) for node in nodes}
    total = sum(work.values())

    def place(node: Node) -> tuple[str, str, bool]:
        module = modules[node.step] if node.step < len(modules) else ("", "")
        return *module, node in once

    segments = []
    for (module, kind, runs_once), group in groupby(nodes, place):
        members = list(group)
        segments.append(
            Segment(
                module=module,
                module_type=kind,
                operations=tuple(str(node.target) for node in members),
                share=sum(work[node] for node in members) / total if total else 0.0,
                runs_once=runs_once,
                blocks=not verdict.homogeneous and any(node in blocking for node in members),
            )
        )
    return tuple(segments)
