"""What the operations of a run cost: floating-point operations, and memory that is moved."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from captum_xdnn._torch import OpOverload
from captum_xdnn.recording.node import Node, map_nodes
from captum_xdnn.recording.operations import operation_of
from captum_xdnn.recording.steps import TensorInfo

MOVED, CALLED = 40.0, 5e5
ROW = 4e5
"""What Captum's loop over the outputs costs for each row, in the same units."""


@dataclass(frozen=True)
class Cost:
    """What a part of a run costs for one pass.

    Attributes:
        flops: Floating-point operations of convolutions and matrix products, by torch's formulas.
        moved: Entries of the tensors that operations read and write.
        operations: Number of operations.
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
        return Cost(
            self.flops + other.flops,
            self.moved + other.moved,
            self.operations + other.operations,
        )


def cost_of(nodes: Iterable[Node]) -> Cost:
    """The cost of one forward pass through some operations."""
    total = Cost()
    for node in nodes:
        total += _cost_of(node)
    return total


def _cost_of(node: Node) -> Cost:
    target: Any = node.target
    if not isinstance(target, OpOverload) or operation_of(target).shows:
        return Cost()
    shapes = [_shapes(n.value) for n in (node, *node.all_input_nodes)]
    moved = sum(prod(shape) for several in shapes for shape in several)
    return Cost(flops_of(node), moved, 1)


def _shapes(value: Any) -> list[tuple[int, ...]]:
    values = value if isinstance(value, tuple) else (value,)
    return [v.shape for v in values if isinstance(v, TensorInfo)]


def flops_of(node: Node) -> int:
    """Floating-point operations of one operation, by torch's formula for it."""
    # What counts operations takes long to import: only where something is counted.
    from torch.utils.flop_counter import flop_registry

    if not isinstance(node.target, OpOverload):
        return 0
    formula = flop_registry.get(node.target.overloadpacket)
    results = _shapes(node.value)
    if formula is None or not results:
        return 0
    args = map_nodes(node.args, _meta)
    kwargs = map_nodes(node.kwargs, _meta)
    return int(formula(*args, **kwargs, out_val=torch.empty(results[0], device="meta")))


def _meta(node: Node) -> Any:
    shapes = _shapes(node.value)
    return torch.empty(shapes[0], device="meta") if shapes else None
