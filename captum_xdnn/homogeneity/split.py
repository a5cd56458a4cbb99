"""The cut of a graph at its frontier: a trunk whose motions are proved, and the head behind it.

The *frontier* are the tensors of proved motion that something unproved consumes. Everything they
are computed from is the trunk; the output is ``head(h_1(z), h_2(z), ...)``, and along the ray each
frontier tensor is a scaling of its value at the input: a pass through the head needs no pass
through the trunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from captum_xdnn.homogeneity.motion import FIXED, Affine, Fixed, Motion, Power
from captum_xdnn.homogeneity.nodes import is_number, unbacked

if TYPE_CHECKING:
    from captum_xdnn.homogeneity.propagation import Propagation
    from captum_xdnn.homogeneity.tracing import Traced

DETACH = "aten.detach.default"


@dataclass(frozen=True)
class Split:
    """A graph in two parts that can be run.

    Attributes:
        trunk: Maps ``trunk_sources`` to the values of ``frontier``, followed by the values at the
            baseline of its affine members.
        head: Maps ``head_sources`` to the output.
        trunk_nodes: The operations of the trunk, in order.
        head_nodes: The operations of the head, in order.
        trunk_sources: What the trunk takes: placeholders of the traced graph, symbolic numbers;
            followed by ``starts``.
        starts: Inputs whose baseline is not zero: the trunk takes their baselines, too.
        head_sources: What the head takes: frontier, constants, arguments, symbolic numbers.
        frontier: The tensors at the cut that are computed.
        motions: For each of them its motion; ``FIXED`` for those that carry no gradient.
        bent: The affine nodes of the trunk, whose values at the baseline it computes.
    """

    trunk: GraphModule
    head: GraphModule
    trunk_nodes: tuple[Node, ...]
    head_nodes: tuple[Node, ...]
    trunk_sources: tuple[Node, ...]
    starts: tuple[Node, ...]
    head_sources: tuple[Node, ...]
    frontier: tuple[Node, ...]
    motions: tuple[Motion, ...]
    bent: tuple[Node, ...]


def split(traced: Traced, propagation: Propagation) -> Split | None:
    """Cut a graph at its frontier.

    Args:
        traced: The graph.
        propagation: The motions in it.

    Returns:
        The parts; None where there is no head or no trunk, or the graph cannot be cut.
    """
    needed = _ancestors(traced.output)
    order = [node for node in traced.graph.nodes if node in needed]
    if any(map(_cannot_be_cut, order)):
        return None
    proved = _proved(order, propagation)
    head = [n for n in order if n not in proved]
    consumed = {source for node in head for source in node.all_input_nodes}
    sources = [n for n in order if n in consumed and n in proved]
    frontier = [n for n in sources if _is_computed(n)]
    if not head or not frontier or not all(_is_real(n.meta["val"]) for n in frontier):
        return None
    frontier += [n for n in sources if n in traced.inputs]
    motions = tuple(_crossing(node, propagation) for node in frontier)
    outer = [n for n in sources if n not in frontier]
    computed = _ancestors(*frontier)
    trunk_nodes = [n for n in order if n in computed]
    trunk, trunk_sources, starts, bent = _trunk(trunk_nodes, frontier, motions, propagation, traced)
    return Split(
        trunk=trunk,
        head=_head([*frontier, *outer], head, traced.output),
        trunk_nodes=tuple(filter(_is_computed, trunk_nodes)),
        head_nodes=tuple(head),
        trunk_sources=trunk_sources,
        starts=starts,
        head_sources=(*frontier, *outer),
        frontier=tuple(frontier),
        motions=motions,
        bent=bent,
    )


def _ancestors(*nodes: Node) -> set[Node]:
    """The nodes and all they are computed from, up to numbers: those follow from the batch size."""
    found: set[Node] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack += () if is_number(node.meta.get("val")) else node.all_input_nodes
    return found


def _cannot_be_cut(node: Node) -> bool:
    """Whether a node holds a graph of its own, or is a number that depends on tensors' values."""
    return node.op == "get_attr" or (is_number(node.meta.get("val")) and unbacked(node))


def _is_computed(node: Node) -> bool:
    """Whether a node is the result of an operation on tensors."""
    return node.op == "call_function" and not is_number(node.meta["val"])


def _is_real(value: Any) -> bool:
    return isinstance(value, Tensor) and not value.is_complex()


def _proved(order: list[Node], propagation: Propagation) -> set[Node]:
    """The nodes whose motion is proved, and the motions of all they are computed from."""
    proved: set[Node] = set()
    for node in order:
        if (
            node.op == "placeholder"
            or is_number(node.meta.get("val"))
            or (proved.issuperset(node.all_input_nodes) and _is_settled(node, propagation))
        ):
            proved.add(node)
    return proved


def _is_settled(node: Node, propagation: Propagation) -> bool:
    if propagation.assumed.get(node, 0):
        return False
    motion = propagation.motions.get(node)
    motions = motion if isinstance(motion, tuple) else (motion,)
    # A gradient that is cut off inside the trunk would contradict Euler's identity there.
    if str(node.target) == DETACH and motion != FIXED:
        return False
    return all(isinstance(m, Fixed | Power | Affine) for m in motions)


def _crossing(node: Node, propagation: Propagation) -> Motion:
    """The motion of a tensor at the cut; what carries no gradient counts as fixed."""
    motion = propagation.proved(node)
    value = node.meta["val"]
    return motion if value.is_floating_point() or motion != Power(0) else FIXED


def _trunk(
    nodes: list[Node],
    frontier: list[Node],
    motions: tuple[Motion, ...],
    propagation: Propagation,
    traced: Traced,
) -> tuple[GraphModule, tuple[Node, ...], tuple[Node, ...], tuple[Node, ...]]:
    """The trunk as a module that also gives the values of affine tensors at the baseline."""
    graph, copies = Graph(), {}
    sources = [n for n in nodes if not _is_computed(n)]
    for node in sources:
        copies[node] = graph.placeholder(node.name)
    affine = [n for n, m in zip(frontier, motions, strict=True) if isinstance(m, Affine)]
    behind = _ancestors(*affine)
    bent = [n for n in nodes if n in behind and _is_bent(propagation.motions.get(n))]
    starts = [n for n in bent if n in traced.inputs]
    twins = {node: graph.placeholder(f"{node.name}_start") for node in starts}

    def start_of(node: Node) -> Node:
        """The value of a node at the baseline, in the new graph."""
        if node in twins:
            return twins[node]
        motion = propagation.motions.get(node)
        if not isinstance(motion, Power):
            return copies[node]
        twins[node] = graph.call_function(torch.ops.aten.zeros_like.default, (copies[node],))
        return twins[node]

    for node in filter(_is_computed, nodes):
        copies[node] = graph.node_copy(node, copies.__getitem__)
    for node in bent:
        if node not in twins:
            twins[node] = graph.node_copy(node, start_of)
    results = [copies[n] for n in frontier] + [twins[n] for n in affine]
    graph.output(tuple(results))
    return GraphModule({}, graph), (*sources, *starts), tuple(starts), tuple(bent)


def _is_bent(motion: Any) -> bool:
    """Whether a node, or one of its several results, is affine."""
    return any(isinstance(m, Affine) for m in (motion if isinstance(motion, tuple) else (motion,)))


def _head(sources: list[Node], nodes: list[Node], output: Node) -> GraphModule:
    graph = Graph()
    copies = {node: graph.placeholder(node.name) for node in sources}
    for node in nodes:
        copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(copies[output])
    return GraphModule({}, graph)
