"""What the operations of a run cost: floating-point operations, and memory that is moved."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from operator import add
from typing import Any

import torch

from captum_xdnn._torch import OpOverload
from captum_xdnn.recording.node import Node, map_nodes
from captum_xdnn.recording.operations import operation_of
from captum_xdnn.recording.steps import forms_in

MOVED, HELD, CALLED = 128.0, 56.0, 1.4e7
"""What takes as long as one floating-point operation of a matrix product, forward and backward: rates.

To move an entry that depends on the inputs, and one that does not, and to call an operation. They were fitted, with
those in ``routes/plan.py``, to the processor time of 40 networks on one thread of a CPU; ``python -m
tests.benchmarks.predictions`` measures what comes of them.
"""


@dataclass(frozen=True)
class Cost:
    """What a part of a run costs for one pass.

    Attributes:
        flops: Floating-point operations of convolutions and matrix products, by torch's formulas.
        moved: Entries of the tensors that operations read and write, and that depend on the inputs.
        held: Entries of the others, such as weights, which are as many whatever the batch.
        operations: How many operations are called.
    """

    flops: int = 0
    moved: int = 0
    held: int = 0
    operations: int = 0

    def work(self, batches: float = 1, passes: int = 1) -> float:
        """The cost of so many batches in so many passes, in the unit of the rates."""
        rows = (self.flops + MOVED * self.moved) * batches
        return rows + (HELD * self.held + CALLED * self.operations) * passes

    def __add__(self, other: Cost) -> Cost:
        return Cost(*map(add, vars(self).values(), vars(other).values()))


def cost_of(nodes: Iterable[Node], moving: Set[Node]) -> Cost:
    """The cost of one forward pass through some operations; ``moving`` depend on the inputs."""
    return sum((_cost_of(node, moving) for node in nodes), Cost())


def _cost_of(node: Node, moving: Set[Node]) -> Cost:
    target: Any = node.target
    if not isinstance(target, OpOverload) or operation_of(target).shows:
        return Cost()
    entries = {True: 0, False: 0}
    for each in (node, *node.all_input_nodes):
        entries[each in moving] += sum(info.numel() for info in forms_in(each.value))
    return Cost(flops_of(node), entries[True], entries[False], 1)


def flops_of(node: Node) -> int:
    """Floating-point operations of one operation, by torch's formula for it."""
    # What counts operations takes long to import: only where something is counted.
    from torch.utils.flop_counter import flop_registry

    if not isinstance(node.target, OpOverload):
        return 0
    formula = flop_registry.get(node.target.overloadpacket)
    if formula is None or not forms_in(node.value):
        return 0
    args = map_nodes(node.args, _meta)
    kwargs = map_nodes(node.kwargs, _meta)
    return int(formula(*args, **kwargs, out_val=_meta(node)))


def _meta(node: Node) -> Any:
    forms = forms_in(node.value)
    return torch.empty(forms[0].shape, device="meta") if forms else None
