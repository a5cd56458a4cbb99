"""The graph of each case: a run of the operation alone, watched, or made by hand."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from captum_xdnn.recording.following import operations
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.run import Graph, graph_of
from captum_xdnn.recording.steps import Step, info_of
from captum_xdnn.recording.watch import Tape
from rules.case import Case, Ray, results
from rules.every_law import LAWS


@functools.cache
def place(law: str, i: int) -> tuple[Graph, list[Node], Node]:
    """The graph of a case, the placeholders of its operands, the node of its operation."""
    c = LAWS[law][i]
    graph = _by_hand(c) if c.by_hand else _watched(c)
    found = [n for n in graph.nodes if str(n.target) == c.op]
    assert found, f"the run shows no {c.op}: {[str(n.target) for n in graph.nodes]}"
    return graph, list(graph.inputs), found[0]


def _watched(c: Case) -> Graph:
    """What is made of others is shown whole only where autograd is off altogether."""
    with torch.inference_mode():
        operands = _example(c)
        tape = Tape(Step(None, None), operands or [torch.zeros(1)], placed=False)
        with operations(tape):
            returned = c.call(operands)
    tape.note_event("returned", results(returned))
    graph = graph_of(operands or [torch.zeros(1)], tape.path)
    Node("taken", "taken", graph.events[-1].nodes)  # by whoever asked for it
    inputs = graph.inputs if operands else ()
    return Graph(graph.nodes, inputs, graph.sources, None, (), graph.size, graph.coarsest)


def _by_hand(c: Case) -> Graph:
    operands = _example(c)
    nodes = [Node(f"operand{i}", None, value=info_of(t), number=i) for i, t in enumerate(operands)]
    args, kwargs = c.filled(nodes)
    returned = c.call(operands)
    infos: Any = pytree.tree_map(lambda t: info_of(t) if isinstance(t, Tensor) else None, returned)
    node = Node("operation", c.overload, _tuples(args), kwargs, value=infos, step=0)
    inputs = tuple(nodes)
    return Graph([*nodes, node], inputs, {}, node, (), 1, 0.0)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _example(c: Case) -> list[Tensor]:
    return Ray(c.values, ["F"] * len(c.values)).at(1.0)
