"""The strip: a graph as a row of segments, each the operations of one module, for a picture."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from torch.fx import Node

from captum_xdnn.homogeneity.blocker import module_of
from captum_xdnn.homogeneity.cost import cost_of
from captum_xdnn.homogeneity.nodes import is_number

if TYPE_CHECKING:
    from captum_xdnn.homogeneity.plan import Plan
    from captum_xdnn.homogeneity.tracing import Traced


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


def strip_of(
    traced: Traced, plan: Plan | None, blocking: Container[Node], *, homogeneous: bool
) -> tuple[Segment, ...]:
    """Lay out a graph in segments.

    Args:
        traced: The graph.
        plan: How it can be hoisted; None if it cannot.
        blocking: The nodes that keep a single pass from being exact.
        homogeneous: Whether all of it runs once.
    """
    nodes = [n for n in traced.graph.nodes if n.op == "call_function" and not _is_number(n)]
    hoisted = set(nodes) if homogeneous else set(plan.split.trunk_nodes if plan else ())
    work = _flops(traced, nodes)
    total = sum(work.values())

    def place(node: Node) -> tuple[str, str, bool]:
        return *module_of(node, traced.prefix), node in hoisted

    segments = []
    for (module, kind, once), group in groupby(nodes, place):
        members = list(group)
        segments.append(
            Segment(
                module=module,
                module_type=kind,
                operations=tuple(str(node.target) for node in members),
                share=sum(work[node] for node in members) / total if total else 0.0,
                runs_once=once,
                blocks=any(node in blocking for node in members),
            )
        )
    return tuple(segments)


def _is_number(node: Node) -> bool:
    return is_number(node.meta.get("val"))


def _flops(traced: Traced, nodes: list[Node]) -> dict[Node, int]:
    """Of each node, counted once for a graph: its certificates may be made again and again."""
    if "flops" not in traced.kept:
        sizes = traced.sizes(traced.size)
        traced.kept["flops"] = {node: cost_of((node,), sizes).flops for node in nodes}
    found: dict[Node, Any] = traced.kept["flops"]
    return found
