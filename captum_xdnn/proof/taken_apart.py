"""Operations without a rule of their own, as the operations that torch makes them of."""

import functools
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from captum_xdnn._torch import core_aten_decompositions, decomposition_table, has_kernel
from captum_xdnn.recording.following import operations
from captum_xdnn.recording.node import Node, map_nodes
from captum_xdnn.recording.run import Graph, graph_of
from captum_xdnn.recording.steps import Step
from captum_xdnn.recording.watch import Tape


def parts_of(node: Node) -> Graph | None:
    """The graph of what an operation is made of; None where torch does not say.

    Its inputs are the tensors that the operation takes, and ``kept["outputs"]`` what it gives.
    """
    parts = how(node.target)
    if parts is None:
        return None
    given = [_empty(n) for n in node.all_input_nodes]
    stand_ins = dict(zip(node.all_input_nodes, given, strict=True))
    args = map_nodes(node.args, stand_ins.__getitem__)
    kwargs = map_nodes(node.kwargs, stand_ins.__getitem__)
    tape = Tape(Step(None, None), given, placed=False)
    try:
        with torch.no_grad(), operations(tape):
            results = parts(*args, **kwargs)
    except Exception:  # whatever a decomposition does not take: then nothing is known
        return None
    several = results if isinstance(results, tuple | list) else (results,)
    if any(not isinstance(r, Tensor | None) for r in several):
        return None
    if any(step.op.overload is node.target for step in tape.path if hasattr(step.op, "overload")):
        return None
    tape.note_event("outputs", several)
    graph = graph_of(given, tape.path)
    nodes = iter(graph.events[-1].nodes)
    outputs = [next(nodes) if isinstance(r, Tensor) else None for r in several]
    graph.kept["outputs"] = outputs
    for output in filter(None, outputs):  # they are used, by whoever takes the result
        output.users[node] = None
    return replace(graph, events=graph.events[:-1])


def _empty(node: Node) -> Tensor:
    info = node.value
    if info.strides is None:
        return torch.empty(info.shape, dtype=info.dtype, device="meta")
    return torch.empty_strided(info.shape, info.strides, dtype=info.dtype, device="meta")


@functools.lru_cache(maxsize=512)
def how(overload: Any) -> Any:
    """The function that torch computes an operation by, in terms of others; None if it has none."""
    table: Any = core_aten_decompositions()
    found = table.get(overload) or decomposition_table.get(overload)
    if found is None and has_kernel(overload.name(), "CompositeImplicitAutograd"):
        found = overload.decompose
    return found
