"""What the operations of a run cost: floating-point operations, and memory that is moved."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from operator import add
from typing import Any

from captum_xdnn._torch import OpOverload
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.operations import operation_of
from captum_xdnn.recording.steps import sized_in

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
        flops: Floating-point operations of convolutions and matrix products.
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
        entries[each in moving] += sum(info.numel() for info in sized_in(each.value))
    return Cost(flops_of(node), entries[True], entries[False], 1)


def flops_of(node: Node) -> int:
    """Floating-point operations of a product of matrices or a convolution, two for each term of its sums; else 0.

    By torch's own formulas (``torch.utils.flop_counter``), which take 0.1 s to import.
    """
    target: Any = node.target
    terms = _TERMS.get(str(target.overloadpacket)) if isinstance(target, OpOverload) else None
    if terms is None or not sized_in(node.value):
        return 0
    count, first = terms
    given = [n for n in node.args[first : first + 2] if type(n) is Node]
    multiplied = [form.shape for n in given for form in sized_in(n.value)[:1]]
    return 2 * count(node, *multiplied) if len(multiplied) == 2 else 0


def _of_product(node: Node, left: Any, _: Any) -> int:
    return sized_in(node.value)[0].numel() * int(left[-1])


def _of_convolution(node: Node, image: Any, weight: Any) -> int:
    is_transposed = len(node.args) > 6 and node.args[6] is True
    places = image if is_transposed else sized_in(node.value)[0].shape
    return int(math.prod(places) * math.prod(weight[1:]))


def _of_attention(node: Node, query: Any, key: Any) -> int:
    return int(math.prod(query[:-1]) * key[-2] * (query[-1] + sized_in(node.value)[0].shape[-1]))


_ATTENTION = "aten._scaled_dot_product_"
_TERMS: dict[str, tuple[Callable[[Node, Any, Any], int], int]] = {
    **dict.fromkeys(("aten.mm", "aten.bmm", "aten.mv", "aten._scaled_mm"), (_of_product, 0)),
    **dict.fromkeys(("aten.addmm", "aten.baddbmm", "aten.addmv"), (_of_product, 1)),
    **dict.fromkeys(
        (
            "aten.convolution",
            "aten._convolution",
            "aten.cudnn_convolution",
            "aten._slow_conv2d_forward",
        ),
        (_of_convolution, 0),
    ),
    **dict.fromkeys(
        [f"{_ATTENTION}{kind}_attention" for kind in ("efficient", "flash", "cudnn")],
        (_of_attention, 0),
    ),
}
"""How many terms the sums of an operation have, and at which of its arguments what is multiplied begins."""
