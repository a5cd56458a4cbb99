"""Piecewise linear functions: the second derivative by the input is zero wherever it exists.

A ReLU network is one: between its kinks it is linear in the input. What is asked here is less than a
certificate asks for in one way and more in another: biases do not matter, and every operation on the
way from the input has to be linear in it, or to choose among its values.
"""

from __future__ import annotations

import operator
from typing import Any

from captum_xdnn.proof.registry import name_of
from captum_xdnn.proof.rules import joining, linear, ordering, products
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.run import Graph, overwritten, shown_again
from captum_xdnn.recording.steps import TensorInfo

TOGETHER = frozenset(
    [
        *(linear.VIEWS + linear.SUMS + linear.POOLS + linear.PADS + linear.RESAMPLERS),
        *(joining.SUMS + joining.REVERSED),
        "aten.cat.default",
        "aten.stack.default",
        "aten.where.self",
        "aten.masked_fill.Scalar",
        "aten.constant_pad_nd.default",
        "aten._to_copy.default",
        "aten.dropout.default",
        "aten.index.Tensor",
        "aten.index_select.default",
        "aten.gather.default",
        "aten.select_scatter.default",
        "aten.slice_scatter.default",
    ]
)
"""Linear in all tensors together; an index or a condition has no derivative."""

CHOOSING = frozenset(
    [
        *ordering.POOLS,
        *ordering.POOLS_WITH_POSITIONS,
        *(f"aten.{name}.default" for name in ("relu", "leaky_relu", "abs", "amax", "amin")),
        *(f"aten.{name}.default" for name in ("maximum", "minimum", "max", "min")),
        "aten.max.dim",
        "aten.min.dim",
        "aten.clamp.default",
        "aten.clamp_min.default",
        "aten.clamp_max.default",
        "aten.hardtanh.default",
        "aten.threshold.default",
    ]
)
"""The result is one of the values, or one of them times a number that its sign decides."""

PRODUCTS = frozenset(products.BILINEAR + products.LAYERS + products.WITH_SUM)
"""Linear in each tensor while the others are constant."""

SCALED = frozenset(
    [
        "aten.div.Tensor",
        "aten.div.Scalar",
        "aten.prelu.default",
        "aten._prelu_kernel.default",
        "aten._native_batch_norm_legit_no_training.default",
        "aten.native_batch_norm.default",
        "aten.cudnn_batch_norm.default",
    ]
)
"""Piecewise linear in the first tensor while the others are constant."""


def is_piecewise_linear(graph: Graph) -> bool:
    """Whether all that a run does with its inputs is piecewise linear.

    Args:
        graph: The run; what acts on the gradients beside its operations is looked at elsewhere.
    """
    reached = set(graph.inputs)
    for node in graph.nodes:
        if node.op != "call_function" or not any(s in reached for s in node.all_input_nodes):
            continue
        if node.flaw:
            return False
        if node.target is operator.getitem or node.target in (overwritten, shown_again):
            reached.add(node)
        elif _has_derivative(node):
            if not _is_linear(node, reached):
                return False
            reached.add(node)
    return True


def _has_derivative(node: Node) -> bool:
    """Whether a result is a tensor that autograd follows: no index, no condition, no size."""
    value: Any = node.value
    parts = value if isinstance(value, tuple) else (value,)
    infos = [part for part in parts if isinstance(part, TensorInfo)]
    return any(t.is_floating_point() or t.is_complex() for t in infos)


def _is_linear(node: Node, reached: set[Node]) -> bool:
    name = name_of(node.target)
    if name in CHOOSING:  # of real numbers: the length of a complex one is bent everywhere
        return not any(_is_complex(source) for source in node.all_input_nodes)
    if name in TOGETHER:
        return True
    if name not in PRODUCTS and name not in SCALED:
        return False
    uses = [a for a in (*node.args, *node.kwargs.values()) if type(a) is Node and a in reached]
    # Once: x * x is not linear in x.
    return len(uses) == 1 and (name in PRODUCTS or uses[0] is node.args[0])


def _is_complex(node: Node) -> bool:
    return isinstance(node.value, TensorInfo) and node.value.is_complex()
