"""The cut of a run at its frontier: a trunk whose motions are proved, and the head behind it.

The *frontier* are the tensors of proved motion that something unproved consumes. Everything they
are computed from is the trunk; the output is ``head(h_1(z), h_2(z), ...)``, and along the ray each
frontier tensor is a scaling of its value at the input: a pass through the head needs no pass
through the trunk.
"""

from dataclasses import dataclass

from captum_xdnn.proof.cut import passes_on
from captum_xdnn.proof.domain import FIXED, Affine, Fixed, Motion, Power
from captum_xdnn.proof.propagation import Propagation
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.run import Graph


@dataclass(frozen=True)
class Split:
    """The operations of a run in two parts, in order.

    Attributes:
        frontier: The tensors at the cut that the run computes or is given to move, and those among
            them that carry no gradient.
        motions: For each of them its motion; ``FIXED`` for those that carry no gradient.
        others: The sources that the head takes beside them.
        fixed: Those of the frontier that do not depend on the inputs at all.
    """

    trunk: tuple[Node, ...]
    head: tuple[Node, ...]
    frontier: tuple[Node, ...]
    motions: tuple[Motion, ...]
    others: tuple[Node, ...]
    fixed: frozenset[Node]


def split(graph: Graph, output: Node, propagation: Propagation) -> Split | None:
    """Cut a run at its frontier; None where a part is missing, or the run cannot be cut."""
    needed = ancestors(output)
    order = [node for node in graph.nodes if node in needed]
    proved = _proved(order, propagation)
    head = [n for n in order if n not in proved]
    consumed = {source for node in head for source in node.all_input_nodes}
    sources = [n for n in order if n in consumed and n in proved]
    moving = [n for n in sources if n.op == "call_function" or n in graph.inputs]
    motions = tuple(_crossing(node, propagation) for node in moving)
    if not head or all(motion == FIXED for motion in motions):
        return None
    if any(n.value is None or isinstance(n.value, tuple) or n.number < 0 for n in moving):
        return None
    if any(n.value.is_complex() for n in moving):
        return None
    computed = ancestors(*moving)
    return Split(
        trunk=tuple(n for n in order if n in computed and n.op == "call_function"),
        head=tuple(head),
        frontier=tuple(moving),
        motions=motions,
        others=tuple(n for n in sources if n not in moving),
        fixed=frozenset(n for n in moving if propagation.proved(n) == FIXED),
    )


def ancestors(*nodes: Node) -> set[Node]:
    """The nodes and all they are computed from."""
    found: set[Node] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack += node.all_input_nodes
    return found


def _proved(order: list[Node], propagation: Propagation) -> set[Node]:
    """The nodes whose motion is proved, and the motions of all they are computed from."""
    proved: set[Node] = set()
    for node in order:
        if proved.issuperset(node.all_input_nodes) and _is_settled(node, propagation):
            proved.add(node)
    return proved


def _is_settled(node: Node, propagation: Propagation) -> bool:
    if propagation.assumed.get(node, 0):
        return False
    motion = propagation.motions.get(node)
    motions = motion if isinstance(motion, tuple) else (motion,)
    # A gradient that is cut off inside the trunk would contradict Euler's identity there.
    if not passes_on(node) and any(m != FIXED for m in motions):
        return False
    return all(isinstance(m, Fixed | Power | Affine) for m in motions)


def _crossing(node: Node, propagation: Propagation) -> Motion:
    """The motion of a tensor at the cut; what carries no gradient counts as fixed."""
    motion, value = propagation.proved(node), node.value
    single = value is not None and not isinstance(value, tuple)
    return motion if (single and value.is_floating_point()) or motion != Power(0) else FIXED
