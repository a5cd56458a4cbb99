"""The plan of hoisting: a split graph, how its head may be run, and whether that pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor
from torch.fx import Node

from captum_xdnn.homogeneity import registry
from captum_xdnn.homogeneity.cost import CALLED, MOVED, ROW, Cost, cost_of
from captum_xdnn.homogeneity.motion import FIXED
from captum_xdnn.homogeneity.nodes import (
    is_mutable,
    is_never_read,
    is_number,
    is_random,
    leaves_unwritten,
    number_of,
)
from captum_xdnn.homogeneity.row_domain import Rows, State, place_of
from captum_xdnn.homogeneity.rows import rows_of
from captum_xdnn.homogeneity.split import Split, split

if TYPE_CHECKING:
    import sympy

    from captum_xdnn.homogeneity.propagation import Propagation
    from captum_xdnn.homogeneity.tracing import Traced

TOGETHER = "examples of a batch may meet in it"
COARSEST = 2.0**-20
"""Functions that round more coarsely than this, which float32 does not, are not hoisted."""
CACHE = 2**21
"""Bytes of the tensors at the cut that go through the head together on a CPU; see Architecture."""
WORTH_IT = 1.25
"""The speed-up that has to be predicted: so much is the error of the prediction."""


@dataclass(eq=False)
class Plan:
    """A way to integrate a function whose head alone is run for each step.

    Attributes:
        traced: The graph.
        split: Its two parts.
        places: Where the rows of the head's sources are.
        refusal: Why a copy of the graph may not be used; empty if nothing is known against it.
        rehearsed: Whether the plan has reproduced the real function's gradients.
    """

    traced: Traced
    split: Split
    places: dict[Node, State]
    refusal: str = ""
    rehearsed: bool = False
    _costs: dict[int, tuple[Cost, Cost]] = field(default_factory=dict, repr=False)
    _passes: dict[tuple[int, int, bool], int] = field(default_factory=dict, repr=False)

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
        return float(captum), float(once + heads)

    def holds_for(self, rows: int) -> bool:
        """Whether the graph is the function's in a batch of so many rows.

        A lone row is one of several, by the proof that they stay apart.
        """
        return rows == 1 or self.traced.holds_for(rows)

    def passes(self, rows: int, steps: int, *, cached: bool) -> int:
        """Into how many passes through the head the steps are divided.

        So many that the memory stays below Captum's, which holds its inputs at all steps, and
        gradients of them; the tensors at the cut are often larger. On a CPU also so many that
        those of one pass fit its cache: the head of a perceptron reads each of them several times.

        Args:
            rows: The batch size.
            steps: Number of steps.
            cached: Whether the cache decides, too.
        """
        key = (rows, steps, cached)
        if key not in self._passes:
            cut, inputs = self._bytes_at_cut(rows), self._bytes_of(self.traced.inputs, rows)
            fewest = 1 if cut <= inputs else 2
            fitting = -(-cut * steps // CACHE) if cached else 1
            self._passes[key] = max(1, min(steps, max(fewest, fitting)))
        return self._passes[key]

    def _bytes_at_cut(self, rows: int) -> int:
        """The size of the tensors at the cut that move, at one step."""
        pairs = zip(self.split.frontier, self.split.motions, strict=True)
        return self._bytes_of([node for node, motion in pairs if motion != FIXED], rows)

    def _bytes_of(self, nodes: Sequence[Node], rows: int) -> int:
        known = self.traced.sizes(rows)
        values = [node.meta["val"] for node in nodes]
        return sum(
            v.element_size() * prod(int(number_of(length, known) or 1) for length in v.shape)
            for v in values
        )


def plan_of(traced: Traced, propagation: Propagation) -> Plan | None:
    """Plan how to hoist a graph, or say by None that it cannot be hoisted.

    Args:
        traced: The graph.
        propagation: The motions in it.
    """
    parts = None if traced.batch is None else _parts(traced, propagation)
    if parts is None:
        return None
    key = ("plan", parts.frontier, parts.motions, parts.bent)
    if key not in traced.kept:
        places = _rows(traced, parts)
        refusal = ", ".join(traced.detours) or ("" if places else TOGETHER)
        traced.kept[key] = Plan(traced, parts, places, refusal=refusal)
    plan: Plan = traced.kept[key]
    return plan


def promises(traced: Traced, propagation: Propagation, steps: int) -> bool:
    """Whether a graph that was traced with one example would pay if it were traced with more.

    Args:
        traced: The graph.
        propagation: The motions in it.
        steps: Number of steps.
    """
    parts = None if traced.detours else _parts(traced, propagation)
    if parts is None:
        return False
    return Plan(traced, parts, {}).speed_up(traced.size, steps) >= WORTH_IT


def _parts(traced: Traced, propagation: Propagation) -> Split | None:
    if traced.writes or traced.coarsest > COARSEST:
        return None
    parts = split(traced, propagation)
    return None if parts is None or any(map(_is_undetermined, parts.head_nodes)) else parts


def _is_undetermined(node: Node) -> bool:
    """Whether an operation draws random numbers, writes, or reads what nobody has written."""
    if is_random(node.target) or is_mutable(node.target) or leaves_unwritten(node):
        return True
    return registry.name_of(node.target) in registry.VOLATILE and not is_never_read(node)


def _rows(traced: Traced, parts: Split) -> dict[Node, State]:
    """Where the rows of the head's sources are, if all rows stay apart; else nothing.

    Captum puts all steps into one batch. Only where its examples do not meet is what it computes
    the integral of the function, and only there can the steps be taken one after the other, or the
    trunk of a single example be run in a graph that was traced with more.
    """
    batch = cast("sympy.Symbol", traced.batch)
    numbers = [n for n in traced.graph.nodes if is_number(n.meta.get("val"))]
    sources = [n for n in traced.graph.nodes if n.op == "placeholder" and n not in numbers]
    values = {n: n.meta.get("val") for n in sources}
    known = {
        n: place_of(v.shape, batch, traced.same) for n, v in values.items() if isinstance(v, Tensor)
    }
    states = rows_of((*parts.trunk_nodes, *parts.head_nodes), known, batch, traced.same)
    if states[traced.output] != Rows(0):
        return {}
    return {n: states[n] for n in parts.head_sources if n not in numbers}
