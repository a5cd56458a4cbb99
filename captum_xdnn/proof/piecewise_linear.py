"""Piecewise linear functions: the second derivative by the input is zero wherever it exists.

A ReLU network is one: between its kinks it is linear in the input. What is asked here is less than a
certificate asks for in one way and more in another: biases do not matter, and every operation on the
way from the input has to be linear in it, or to choose among its values.
"""

import operator

from captum_xdnn.proof.registry import BILINEAR, CHOICE, LINEAR, PIECES, name_of
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.run import Graph, overwritten, shown_again
from captum_xdnn.recording.steps import forms_in


def is_piecewise_linear(graph: Graph) -> bool:
    """Whether all operations of a run on its inputs are; what else acts on gradients is looked at elsewhere."""
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
    return any(t.is_floating_point() or t.is_complex() for t in forms_in(node.value))


def _is_linear(node: Node, reached: set[Node]) -> bool:
    kind = PIECES.get(name_of(node.target))
    if kind == CHOICE:  # of real numbers: the length of a complex one is bent everywhere
        infos = [info for source in node.all_input_nodes for info in forms_in(source.value)]
        return not any(info.is_complex() for info in infos)
    if kind == LINEAR or kind is None:
        return kind is not None
    uses = [a for a in (*node.args, *node.kwargs.values()) if type(a) is Node and a in reached]
    # Once: x * x is not linear in x.
    return len(uses) == 1 and (kind == BILINEAR or uses[0] is node.args[0])
