"""The plan of hoisting: a split graph, how its head may be run, and whether that pays."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

from torch.fx import Node

from captum_xdnn.homogeneity import registry
from captum_xdnn.homogeneity.cost import CALLED, MOVED, ROW, Cost, cost_of
from captum_xdnn.homogeneity.motion import FIXED
from captum_xdnn.homogeneity.nodes import (
    is_mutable,
    is_never_read,
    is_number,
    is_random,
    number_of,
)
from captum_xdnn.homogeneity.rows import Rows, State, place_of, rows_of
from captum_xdnn.homogeneity.split import Split, split

if TYPE_CHECKING:
    from captum_xdnn.homogeneity.propagation import Propagation
    from captum_xdnn.homogeneity.tracing import Traced

FINEST_REFUSED = 2.0**-20
"""Functions that round more coarsely than float32 are not hoisted."""


WORTH_IT = 1.25


@dataclass(eq=False)
class Plan:
    """A way to integrate a function whose head alone is run for each step.

    Attributes:
        traced: The graph.
        split: Its two parts.
        places: Where the rows of the head's sources are, if several steps may share a batch;
            None if each step needs a pass of its own.
        apart: Whether the rows are proved to be apart in the trunk, too: then the graph holds for
            a single row, though it was traced with more.
        refusal: Why a copy of the graph may not be used; empty if nothing is known against it.
        rehearsed: Whether the plan has reproduced the real function's gradients.
    """

    traced: Traced
    split: Split
    places: dict[Node, State] | None
    apart: bool
    refusal: str = ""
    rehearsed: bool = False
    _costs: dict[int, tuple[Cost, Cost]] = field(default_factory=dict, repr=False)

    def number(self, node: Node, rows: int) -> Any:
        """The number that a node stands for in a batch of ``rows``."""
        return number_of(node.meta["val"], self.traced.sizes(rows))

    def costs(self, rows: int) -> tuple[Cost, Cost]:
        """What a forward pass of trunk and head costs."""
        if self.traced.batch is None and rows != self.traced.size:
            factor = rows / self.traced.size
            trunk, head = self.costs(self.traced.size)
            return trunk.times(factor), head.times(factor)
        if rows not in self._costs:
            sizes = self.traced.sizes(rows)
            parts = self.split
            self._costs[rows] = (
                cost_of(parts.trunk_nodes, sizes),
                cost_of(parts.head_nodes, sizes),
            )
        return self._costs[rows]

    def trunk_share(self) -> float:
        """Share of the floating-point operations that are in the trunk."""
        trunk, head = self.costs(self.traced.size)
        return trunk.flops / max(trunk.flops + head.flops, 1)

    def speed_up(self, rows: int, steps: int) -> float:
        """How many times faster than Captum hoisting is expected to be.

        Args:
            rows: The batch size.
            steps: Number of steps.
        """
        captum, hoisted = self._works(rows, steps)
        return captum / hoisted

    def pays(self, rows: int, steps: int) -> bool:
        """Whether hoisting is worth it, with room for the error of the prediction.

        The first call has to make up for the rehearsal, too: it makes the gradients at two places
        of the ray twice, and compares the outputs.
        """
        if self.refusal:
            return False
        captum, hoisted = self._works(rows, steps)
        if captum < WORTH_IT * hoisted:
            return False
        rehearsal = 0.0 if self.rehearsed else 2 * self._works(rows, 2)[0]
        return captum >= min(WORTH_IT, 1.0) * (hoisted + rehearsal)

    def _works(self, rows: int, steps: int) -> tuple[float, float]:
        """The work of Captum and that of hoisting, in the units of ``Cost.work``."""
        trunk, head = (cost.work() for cost in self.costs(rows))
        trunks, heads = (cost.work() for cost in self.costs(rows * steps))
        entries = sum(prod(node.meta["val"].shape[1:]) for node in self.traced.inputs)
        # Captum scales the inputs, weighs their gradients, and takes the outputs apart row by row.
        captum = trunks + heads + rows * steps * (8 * MOVED * entries + ROW) + 2 * steps * CALLED
        # The output of the copy and of the function are compared: forward passes, half a pass.
        once = trunk + (trunk + 2 * head) / 2 + 10 * CALLED
        return float(captum), float(once + (head * steps if self.places is None else heads))

    def passes(self) -> int:
        """Into how many passes the steps are divided, so that the memory stays below Captum's.

        Captum holds its inputs at all steps, and gradients of them; the head's are the tensors at
        the cut, which are often larger.
        """
        moving = [
            n for n, m in zip(self.split.frontier, self.split.motions, strict=True) if m != FIXED
        ]
        entries = [
            prod(self._number(length) for length in node.meta["val"].shape)
            for node in (*moving, *self.traced.inputs)
        ]
        return 1 if sum(entries[: len(moving)]) <= sum(entries[len(moving) :]) else 2

    def _number(self, value: Any) -> int:
        return int(number_of(value, self.traced.sizes(self.traced.size)))

    def fits(self, rows: int) -> bool:
        """Whether the graph, with its head in batches of ``rows``, is the function's own."""
        return self.places is None or self.traced.holds_for(rows)


def plan_of(traced: Traced, propagation: Propagation) -> Plan | None:
    """Plan how to hoist a graph, or say by None that it cannot be hoisted.

    Args:
        traced: The graph.
        propagation: The motions in it.
    """
    if traced.writes or traced.coarsest > FINEST_REFUSED or not _has_rows(traced):
        return None
    parts = split(traced, propagation)
    if parts is None or any(map(_is_undetermined, parts.head_nodes)):
        return None
    known = traced.plans.get((parts.frontier, parts.motions))
    if known is not None:
        return known
    places, apart = _rows(traced, parts)
    plan = Plan(traced, parts, places, apart, refusal=", ".join(traced.detours))
    traced.plans[parts.frontier, parts.motions] = plan
    return plan


def _has_rows(traced: Traced) -> bool:
    """Whether the function returns a row for each example."""
    shape = traced.output.meta["val"].shape
    if traced.batch is None:
        return bool(shape[:1] == (traced.size,))
    return len(shape) > 0 and place_of(shape, traced.batch) == Rows(0)


def _is_undetermined(node: Node) -> bool:
    """Whether an operation draws random numbers, writes, or reads what nobody has written."""
    if is_random(node.target) or is_mutable(node.target):
        return True
    return registry.name_of(node.target) in registry.VOLATILE and not is_never_read(node)


def _rows(traced: Traced, parts: Split) -> tuple[dict[Node, State] | None, bool]:
    if traced.batch is None:
        return None, False
    batch = traced.batch

    def places(nodes: tuple[Node, ...]) -> dict[Node, State]:
        tensors = [n for n in nodes if not is_number(n.meta.get("val"))]
        return {n: place_of(n.meta["val"].shape, batch) for n in tensors}

    sources = parts.trunk_sources[: len(parts.trunk_sources) - len(parts.starts)]
    trunk = rows_of(parts.trunk_nodes, places(sources), batch)
    known = places(parts.head_sources)
    through = {**known, **{n: trunk[n] for n in parts.frontier}}
    for labels, apart in ((through, True), (known, False)):
        if rows_of(parts.head_nodes, labels, batch)[traced.output] == Rows(0):
            return labels, apart
    return None, False
