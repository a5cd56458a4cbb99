"""What the operations of a graph cost: floating-point operations, and memory that is moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg
from torch.utils.flop_counter import conv_flop_count, flop_registry, sdpa_flop_count

from captum_xdnn.homogeneity.nodes import number_of

FREE = frozenset(
    [
        "view",
        "reshape",
        "_unsafe_view",
        "permute",
        "transpose",
        "t",
        "unsqueeze",
        "squeeze",
        "expand",
        "alias",
        "detach",
        "slice",
        "select",
        "split",
        "split_with_sizes",
        "unbind",
        "getitem",
        "flatten",
        "unflatten",
    ]
)
"""Operations that move nothing."""


MOVED, CALLED = 40.0, 5e5
ROW = 4e5
"""What Captum's loop over the outputs costs for each row, in the same units."""


@dataclass(frozen=True)
class Cost:
    """What a part of a graph costs for one pass.

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


def cost_of(nodes: Iterable[Node], sizes: Mapping[Any, Any]) -> Cost:
    """The cost of one forward pass through some operations.

    Args:
        nodes: Operations of a traced graph.
        sizes: The numbers that symbols of shapes stand for.
    """
    total = Cost()
    for node in nodes:
        total += _cost_of(node, sizes)
    return total


def _cost_of(node: Node, sizes: Mapping[Any, Any]) -> Cost:
    if name_of(node) in FREE:
        return Cost()
    shapes = [_shapes(n.meta.get("val"), sizes) for n in (node, *node.all_input_nodes)]
    moved = sum(prod(shape) for several in shapes for shape in several)
    return Cost(_flops(node, shapes[0], sizes), moved, 1)


def name_of(node: Node) -> str:
    """The name of an operation without namespace and overload."""
    return str(getattr(node.target, "__name__", node.target)).split(".", 1)[0]


def _shapes(value: Any, sizes: Mapping[Any, Any]) -> list[list[int]]:
    values = value if isinstance(value, list | tuple) else [value]
    return [
        [number_of(size, sizes) or 1 for size in v.shape] for v in values if isinstance(v, Tensor)
    ]


def _flops(node: Node, results: list[list[int]], sizes: Mapping[Any, Any]) -> int:
    """Of one operation. Torch's table knows basic operations; the graph has composite ones, too."""
    if not results:
        return 0
    found = [_shapes(n.meta.get("val"), sizes) for n in node.all_input_nodes]
    factors = [shapes[0] for shapes in found if shapes]
    name = name_of(node)
    if name in ("linear", "matmul"):
        return 2 * prod(results[0]) * factors[0][-1]
    if name.startswith("conv"):
        transposed = "transpose" in name or (name == "convolution" and bool(node.args[6]))
        return int(conv_flop_count(factors[0], factors[1], results[0], transposed=transposed))
    if name == "scaled_dot_product_attention":
        return int(sdpa_flop_count(*factors[:3]))  # type: ignore[no-untyped-call]
    formula = flop_registry.get(getattr(node.target, "overloadpacket", None))
    if formula is None:
        return 0

    def meta(argument: Node) -> Any:
        shapes = _shapes(argument.meta.get("val"), sizes)
        return torch.empty(shapes[0], device="meta") if shapes else None

    args, kwargs = map_arg(node.args, meta), map_arg(node.kwargs, meta)
    return int(formula(*args, **kwargs, out_val=torch.empty(results[0], device="meta")))
