"""The picture of a certificate: trunk and head as a strip, with the blockers marked."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from captum_xdnn.figures import OURS, THEIRS, new_figure
from captum_xdnn.proof.findings import Blocker, count_of, kinds_of
from captum_xdnn.proof.nodes import is_operation
from captum_xdnn.proof.verdict import Verdict
from captum_xdnn.recording.cost import flops_of
from captum_xdnn.recording.node import Node

if TYPE_CHECKING:
    from matplotlib.figure import Figure


WIDTH = 9.0
COLUMNS = 118
"""Characters of a line of text in the figure."""
LINES = 8
"""Most kinds of blockers that are listed."""
THINNEST, THIN_PART = 0.004, 0.25
"""The width of a segment without operations that are counted, and that of all of these together."""
ONCE, EVERY_STEP, MARK = THEIRS, "#dd8452", OURS


@dataclass(frozen=True)
class _Box:
    segment: Segment
    left: float
    width: float

    @property
    def middle(self) -> float:
        return self.left + self.width / 2


def strip_figure(
    title: str, strip: Sequence[Segment], blockers: Sequence[Blocker], *, taken: bool
) -> Figure:
    """See ``Certificate.plot``."""
    legend = "\n".join(_legend(blockers))
    figure = new_figure(WIDTH, 2.1 + 0.17 * legend.count("\n"))
    figure.suptitle(textwrap.fill(title, COLUMNS - 20), fontsize=10, ha="left", x=0.01)
    above, below = figure.subplots(2, 1, height_ratios=(1.1, 0.4 + 0.17 * legend.count("\n")))
    _draw(above, _boxes(strip), taken=taken, at_start=any(b.op == "input" for b in blockers))
    below.set_axis_off()
    lines = below.text(
        0, 1, legend, fontsize=8, va="top", family="monospace", transform=below.transAxes
    )
    # Lines are as long as the figure is wide; the layout would make the strip shorter for them.
    lines.set_in_layout(False)
    return figure


def _legend(blockers: Sequence[Blocker]) -> Iterator[str]:
    """The kinds of blockers, a line or two each."""
    kinds = kinds_of(blockers)
    for members in kinds[:LINES]:
        line = f"{count_of(members)}: {members[0].reason}; first: {members[0].where}"
        yield from textwrap.wrap(line, COLUMNS, subsequent_indent="    ")
    if len(kinds) > LINES:
        yield f"and {len(kinds) - LINES} more kinds"


def _boxes(segments: Sequence[Segment]) -> list[_Box]:
    """The segments side by side, between 0 and 1."""
    thinnest = min(THINNEST, THIN_PART / max(len(segments), 1))
    widths = [max(segment.share, thinnest) for segment in segments]
    total, left, boxes = sum(widths), 0.0, []
    for segment, width in zip(segments, widths, strict=True):
        boxes.append(_Box(segment, left, width / total))
        left += width / total
    return boxes


def _draw(axes: Any, boxes: Sequence[_Box], *, taken: bool, at_start: bool) -> None:
    for box in boxes:
        colour = ONCE if box.segment.runs_once else EVERY_STEP
        edge = "white" if box.width > THINNEST else colour
        axes.barh(0, box.width, left=box.left, color=colour, edgecolor=edge, linewidth=0.4)
    if not boxes:
        axes.text(0.5, 0, "there is no graph to draw", ha="center", va="center", fontsize=9)
    blocking = [0.0] if at_start else []  # an input belongs to no segment
    blocking += [box.middle for box in boxes if box.segment.blocks]
    axes.plot(blocking, [0.55] * len(blocking), "v", color=MARK, markersize=6)
    _name(axes, boxes)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.4, 0.75)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    _explain(axes, boxes, taken=taken, blocked=bool(blocking))


def _explain(axes: Any, boxes: Sequence[_Box], *, taken: bool, blocked: bool) -> None:
    """What the colours mean, of those that are there."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    segments = [box.segment for box in boxes]
    handles: list[Any] = []
    if all(segment.runs_once for segment in segments):
        label = "one pass" if taken else "one pass: proved, but Captum's own code runs"
        handles += [Patch(color=ONCE, label=label)] if segments else []
    else:
        trunk = "trunk: runs once" if taken else "proved, but not hoisted: at every step, too"
        if any(segment.runs_once for segment in segments):
            handles.append(Patch(color=ONCE, label=trunk))
        label = "head: runs at every step" if handles else "all of it runs at every step"
        handles.append(Patch(color=EVERY_STEP, label=label))
    if blocked:
        mark = Line2D([], [], color=MARK, marker="v", linestyle="", label="prevents a single pass")
        handles.append(mark)
    where = {"loc": "lower left", "bbox_to_anchor": (0, 1)}
    axes.legend(handles=handles, ncols=3, fontsize=8, frameon=False, **where)


def _name(axes: Any, boxes: Sequence[_Box]) -> None:
    """Names of the outermost modules beneath the strip, of those that are wide enough."""
    ticks, labels = [], []
    for name, group in groupby(boxes, lambda box: box.segment.module.partition(".")[0]):
        members = list(group)
        left, right = members[0].left, members[-1].left + members[-1].width
        if name and right - left > 0.012 * len(name):
            ticks.append((left + right) / 2)
            labels.append(name)
    axes.set_xticks(ticks, labels, fontsize=8)
    axes.tick_params(length=0)


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
    verdict: Verdict, modules: Sequence[tuple[str, str]], trunk: Sequence[Node]
) -> tuple[Segment, ...]:
    """Lay out a run in segments; ``trunk`` runs once where hoisting is possible.

    ``modules`` holds path and class of the module of each step; they are empty outside modules.
    """
    graph = verdict.graph
    nodes = [n for n in graph.nodes if is_operation(n.target) and (n.users or n is graph.output)]
    once = set(nodes) if verdict.homogeneous else set(trunk)
    blocking: set[Node | None] = {obstacle.node for obstacle in verdict.obstacles}
    blocking = blocking or {graph.output}
    work = {node: flops_of(node) for node in nodes}
    total = sum(work.values())

    def place(node: Node) -> tuple[str, str, bool]:
        module = modules[node.step] if node.step < len(modules) else ("", "")
        return *module, node in once

    groups = [(key, list(members)) for key, members in groupby(nodes, place)]
    return tuple(
        Segment(
            module=module,
            module_type=kind,
            operations=tuple(str(node.target) for node in members),
            share=sum(work[node] for node in members) / total if total else 0.0,
            runs_once=runs_once,
            blocks=not verdict.homogeneous and not blocking.isdisjoint(members),
        )
        for (module, kind, runs_once), members in groups
    )
