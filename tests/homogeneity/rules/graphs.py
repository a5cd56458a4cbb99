"""The graph of each case: traced with all of its law, or made by hand."""

from __future__ import annotations

import dataclasses
import functools

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Graph, Node

from captum_xdnn.homogeneity.tracing import Traced, trace
from rules.case import Case, Ray, results
from rules.every_law import LAWS


@functools.cache
def traced_law(law: str) -> Traced | Exception:
    """All cases of a law in one graph, since most of the time of tracing is a fixed cost."""
    return _trace([c for c in LAWS[law] if not c.by_hand])


@functools.cache
def traced_case(law: str, i: int) -> Traced:
    c = LAWS[law][i]
    traced = _by_hand(c) if c.by_hand else _trace([c])
    if isinstance(traced, Exception):
        raise traced
    return traced


def _trace(cases: list[Case]) -> Traced | Exception:
    operands = [t for c in cases for t in _example(c)]

    def function(_: Tensor, *operands: Tensor) -> Tensor:
        left = list(operands)
        parts = []
        for c in cases:
            count = len(c.values)
            mine, left = left[:count], left[count:]
            parts += [_numbers(r) for r in results(c.call(mine))]
        return torch.cat(parts)

    try:
        return trace(function, (torch.zeros(1), *operands))
    except Exception as error:
        return error


def _example(c: Case) -> list[Tensor]:
    return Ray(c.values, ["F"] * len(c.values)).at(1.0)


def _numbers(result: Tensor) -> Tensor:
    if result.is_complex():
        result = torch.view_as_real(result.resolve_conj())
    return result.reshape(-1).to(torch.float64)


def _by_hand(c: Case) -> Traced:
    graph = Graph()
    with FakeTensorMode() as mode:
        nodes, fakes = [], []
        for i, tensor in enumerate(_example(c)):
            nodes.append(graph.placeholder(f"operand{i}"))
            fakes.append(mode.from_tensor(tensor))
            nodes[-1].meta["val"] = fakes[-1]
        node = graph.call_function(c.overload, *c.filled(nodes))
        node.meta["val"] = c.call(fakes, c.overload)
    graph.output(node)
    return Traced(graph, tuple(nodes), (), {}, node, (), "", None, 1, (), 0.0)


@functools.cache
def place(law: str, i: int) -> tuple[Traced, list[Node], Node]:
    """The graph of a case alone, the placeholders of its operands, the node of its operation."""
    c = LAWS[law][i]
    whole = None if c.by_hand else traced_law(law)
    if isinstance(whole, Traced):
        before = sum(len(k.values) for k in LAWS[law][:i] if not k.by_hand)
        traced, first = whole, 1 + before
    else:
        traced = traced_case(law, i)
        first = 0 if c.by_hand else 1
    placeholders = list(traced.inputs[first : first + len(c.values)])
    heirs = set(placeholders)
    for node in traced.graph.nodes:
        if heirs.intersection(node.all_input_nodes):
            heirs.add(node)
    found = [
        n for n in traced.graph.nodes if str(n.target) == c.op and (n in heirs or not placeholders)
    ]
    assert found, f"the graph holds no {c.op}: {[str(n.target) for n in heirs]}"
    return _cut_out(traced, placeholders, found[0])


def _cut_out(
    traced: Traced, placeholders: list[Node], last: Node
) -> tuple[Traced, list[Node], Node]:
    needed = {last, *placeholders}
    for node in reversed(traced.graph.nodes):
        if node in needed:
            needed.update(node.all_input_nodes)
    graph = Graph()
    copies: dict[Node, Node] = {}
    for node in traced.graph.nodes:
        if node in needed:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(copies[last])
    inputs = [copies[n] for n in placeholders]
    alone = dataclasses.replace(traced, graph=graph, inputs=tuple(inputs), output=copies[last])
    return alone, inputs, copies[last]
