"""What the operations of a run cost: floating-point operations, and memory that is moved."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from captum_xdnn._torch import OpOverload
from captum_xdnn.recording.node import Node, map_nodes
from captum_xdnn.recording.operations import operation_of
from captum_xdnn.recording.steps import forms_in

MOVED, CALLED = 40.0, 5e5
ROW = 4e5
"""What Captum's loop over the outputs costs for each row, in the same units."""


@dataclass(frozen=True)
class Cost:
    """What a part of a run costs for one pass.

    Attributes:
        flops: Floating-point operations of convolutions and matrix products, by torch's formulas.
        moved: Entries of the tensors that operations read and write.
    """

    flops: int = 0
    moved: int = 0
    operations: int = 0

    def work(self) -> float:
        """The cost in units of one floating-point operation of a matrix product.

        Moving an entry through memory, and calling an operation at all, take so many of these on
        a processor. The rates are rough, which is why ``plan.WORTH_IT`` leaves room.
        """
        return self.flops + MOVED * self.moved + CALLED * self.operations

    def times(self, factor: float) -> Cost:
        """The cost for so many times the batch."""
        return Cost(int(self.flops * factor), int(self.moved * factor), self.operations)

    def __add__(self, other: Cost) -> Cost:
        operations = self.operations + other.operations
        return Cost(self.flops + other.flops, self.moved + other.moved, operations)


def cost_of(nodes: Iterable[Node]) -> Cost:
    """The cost of one forward pass through some operations."""
    return sum(map(_cost_of, nodes), Cost())


def _cost_of(node: Node) -> Cost:
    target: Any = node.target
    if not isinstance(target, OpOverload) or operation_of(target).shows:
        return Cost()
    given = (node, *node.all_input_nodes)
    moved = sum(info.numel() for each in given for info in forms_in(each.value))
    return Cost(flops_of(node), moved, 1)


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
