r"""Where a gradient is cut on its way through a run: ``detach``, ``.data``, ``torch.no_grad``.

Values obey their law all the same, and so does the gradient that is left; but by Euler's identity it
adds up to the output only where what was cut off does not scale. :math:`x \lVert x \rVert` with its norm
detached has degree 2 and half of the gradient that belongs to it: a single pass would be given up in
every call, for what it misses.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from captum_xdnn.proof.domain import Affine, Power
from captum_xdnn.proof.registry import name_of
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.steps import forms_in

CUT = "its gradient is cut off (detach, .data or torch.no_grad), while it scales with the input"
LET_THROUGH = "let the gradient through, if the output is meant to depend on it"
DETACH = "aten.detach.default"


def passes_on(node: Node) -> bool:
    """Whether an operation passes on the gradients of what it takes."""
    return node.graded and name_of(node.target) != DETACH


def cut_off(
    order: Iterable[Node], inputs: Collection[Node], motions: Mapping[Node, Any]
) -> list[Node]:
    """What scales and has lost its gradient, where it meets what has one.

    Args:
        order: The nodes that the output is computed from, in the order of the run.
        inputs: Those among them that the gradient is taken by.
        motions: The motion of each.
    """
    graded, found = set(inputs), []
    for node in order:
        taken = node.all_input_nodes
        is_real = any(i.is_floating_point() or i.is_complex() for i in forms_in(node.value))
        # Of a write without gradients autograd does not know: torch clamps norms so.
        keeps = passes_on(node) or node.ungraded_write
        if is_real and keeps and not graded.isdisjoint(taken):
            graded.add(node)
            found += [n for n in taken if n not in graded and _scales(motions.get(n))]
    return list(dict.fromkeys(found))


def _scales(motion: Any) -> bool:
    if isinstance(motion, tuple):
        return any(map(_scales, motion))
    return isinstance(motion, Affine) or (isinstance(motion, Power) and motion.degree != 0)
