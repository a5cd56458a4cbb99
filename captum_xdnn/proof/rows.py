"""Rows: a proof that examples of a batch do not meet, so that a batch may be divided.

Taking some examples of a batch by themselves, or several steps of the integration at once, is right
only if every operation treats the rows of the batch apart from each other. For each tensor the
proof carries where its batch is:

- ``Unbatched``: the tensor is the same for every batch; it holds no rows.
- ``BatchDim``: row ``i`` of the tensor depends on row ``i`` of the sources alone.
- None: nothing is proved.

All sizes are numbers: where the batch sits behind a reshape is arithmetic on shapes.
"""

import operator
from collections.abc import Sequence
from typing import Any

import torch

from captum_xdnn.proof.batch_dim import (
    UNBATCHED,
    BatchDim,
    BatchedCall,
    NoPlace,
    State,
    Unbatched,
    rank_of,
    shape_of,
)
from captum_xdnn.proof.nodes import draws, is_mutable, is_operation
from captum_xdnn.proof.registry import ROWS, operation_name
from captum_xdnn.proof.row_laws import entrywise
from captum_xdnn.proof.rules.creation import FRESH, UNIFORM
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.run import overwritten


def rows_of(nodes: Sequence[Node], known: dict[Node, Any], size: int) -> dict[Node, Any]:
    """Where the rows of every tensor are."""
    states = dict(known)
    for node in nodes:
        if node.op == "call_function" and node.value is not None:
            states[node] = _step(node, states, size)
    return states


def _step(node: Node, states: dict[Node, Any], size: int) -> Any:
    if node.target is operator.getitem:
        source, index = node.args
        return states[source][index] if isinstance(states[source], tuple) else None
    tensors = node.all_input_nodes
    if node.flaw or not all(isinstance(states[n], Unbatched | BatchDim) for n in tensors):
        return None
    if node.target is overwritten:
        return _overwritten(node, states, size)
    if not is_operation(node.target) or is_mutable(node.target) or draws(node):
        return None
    several = isinstance(node.value, tuple)
    infos = node.value if several else (node.value,)
    apart = any(isinstance(states[n], BatchDim) for n in tensors)
    apart = apart and ROWS.get(operation_name(node.target)) is not FRESH
    if apart:
        found: tuple[Any, ...] = tuple(
            _apart(node, BatchedCall(node, states, shape_of(info), size)) for info in infos
        )
    else:
        found = tuple(_shared(node, shape_of(info)) for info in infos)
    return found if several else found[0]


def _apart(node: Node, call: BatchedCall) -> State:
    """The place of the rows in a result of an operation, where it keeps them apart."""
    rule = ROWS.get(operation_name(node.target))
    if rule is None and torch.Tag.pointwise in node.target.tags:
        rule = entrywise
    try:
        return call.fits(rule(call)) if callable(rule) else None
    except NoPlace:
        return None


def _shared(node: Node, shape: Sequence[int]) -> Unbatched:
    """A tensor that is computed from what all rows share."""
    name = operation_name(node.target)
    if name in UNIFORM and not any(n is not node.args[0] for n in node.all_input_nodes):
        return Unbatched(frozenset(range(len(shape))))
    if name == "aten.expand":
        before = node.args[0].value.shape
        added = len(shape) - len(before)
        spread = (d for d in range(len(shape)) if d < added or before[d - added] == 1)
        return Unbatched(frozenset(spread))
    return UNBATCHED


def _overwritten(node: Node, states: dict[Node, Any], size: int) -> State:
    """A tensor whose slices were written, in dimensions that do not hold the batch."""
    value, part, views = node.args
    if not any(isinstance(states[n], BatchDim) for n in (value, part)):
        return UNBATCHED
    for dim in range(rank_of(value)):
        inner = _followed(dim, views, rank_of(value))
        if inner is None:
            continue
        both = ((states[value], dim), (states[part], inner))
        held = [s for s, _ in both if isinstance(s, BatchDim)]
        places = {s.at(dim) for s, at in both if isinstance(s, BatchDim) and s.dim == at}
        fixed = all(at in s.uniform for s, at in both if isinstance(s, Unbatched))
        if len(places) == 1 and fixed and all(s.dim in (dim, inner) for s in held):
            place: BatchDim = places.pop()
            if value.value.shape[dim] == place.outer * size * place.width:
                return place
    return None


def _followed(dim: int, views: Any, rank: int) -> int | None:
    """Where a dimension is behind views, if they are slices of others."""
    for overload, index, args, kwargs in views:
        name = operation_name(overload)
        if index is not None or kwargs or name not in ("aten.slice", "aten.select"):
            return None
        at = (args[0] if args else 0) % rank
        if at == dim:
            return None
        if name == "aten.select":
            rank -= 1
            dim -= at < dim
    return dim
