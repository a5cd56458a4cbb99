"""Rows: a proof that examples of a batch do not meet, so that several steps can share a batch.

Laying the steps of the integration side by side in one larger batch is right only if every
operation treats the rows of the batch apart from each other. For each tensor the proof carries where its batch is:

- ``SHARED``: the tensor is the same for every batch size; it holds no rows.
- ``Rows(dim, width, outer)``: dimension ``dim`` is ``outer`` times the batch times ``width``
  entries, and row ``i`` depends on row ``i`` of the sources alone.
- None: nothing is proved.

The place of the batch is read off the symbolic shape; that rows stay apart is the rules' matter.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import sympy
import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Node

from captum_xdnn.homogeneity.nodes import is_mutable, is_number, is_random
from captum_xdnn.homogeneity.row_domain import (
    SHARED,
    Operation,
    Rows,
    Shared,
    State,
    arguments_of,
    counts,
    place_of,
)
from captum_xdnn.homogeneity.row_rules import CONSTANT, FRESH, RESHAPING, RULES


def rows_of(
    nodes: Sequence[Node],
    known: dict[Node, Any],
    batch: sympy.Symbol,
    same: Sequence[sympy.Symbol] = (),
) -> dict[Node, Any]:
    """Where the rows of every tensor are.

    Args:
        nodes: Operations in order.
        known: Where the rows of all that they take are.
        batch: The symbol of the batch size.
        same: Further symbols for it.
    """
    states = dict(known)
    for node in nodes:
        if not is_number(node.meta.get("val")):
            states[node] = _step(node, states, lambda shape: place_of(shape, batch, same))
    return states


def _step(node: Node, states: dict[Node, Any], place: Callable[[Sequence[Any]], State]) -> Any:
    if node.target is operator.getitem:
        source: Any = node.args[0]
        index: Any = node.args[1]
        return states[source][index] if isinstance(states[source], tuple) else None
    target: Any = node.target
    tensors = [n for n in node.all_input_nodes if not is_number(n.meta.get("val"))]
    settled = all(isinstance(states[n], Shared | Rows) for n in tensors)
    if not settled or not isinstance(target, OpOverload) or is_mutable(target) or is_random(target):
        return None
    value = node.meta.get("val")
    results = list(value) if isinstance(value, list | tuple) else [value]
    places: list[Any] = [place(_shape(result)) for result in results]
    if _name(target) not in FRESH and any(isinstance(states[n], Rows) for n in tensors):
        # A result in which the rows are gone has brought them together.
        places = [found if isinstance(found, Rows) else None for found in places]
        places = _apart(node, states, places, _shape(results[0]))
    else:
        counted = counts(v for n, v in arguments_of(node).items() if n not in ("size", "repeats"))
        fixed = not counted and (_name(target) in CONSTANT or not counts(node.args))
        places = [
            found if fixed and (found == SHARED or _name(target) in CONSTANT) else None
            for found in places
        ]
    return tuple(places) if isinstance(value, list | tuple) else places[0]


def _shape(result: Any) -> Sequence[Any]:
    """The shape of a tensor; one that is none, for what is no tensor."""
    return result.shape if isinstance(result, Tensor) else ()


def _apart(node: Node, states: dict[Node, Any], places: list[Any], shape: Any) -> list[Any]:
    """The places of the rows in the results of an operation, where it keeps them apart."""
    nothing: list[Any] = [None] * len(places)
    if places[0] is None:
        return nothing
    operation = Operation(node, states, places[0], shape)
    target: Any = node.target
    outer = operation.reshaped_outer() if _name(target) in RESHAPING else operation.common_outer()
    nested = [place and outer and place.nested(outer) for place in places]
    if not nested[0]:
        return nothing
    operation.place = nested[0]
    return nested if _keeps_apart(target, operation) else nothing


def _keeps_apart(target: OpOverload, operation: Operation) -> bool:
    rule = RULES.get(_name(target))
    if rule is None and torch.Tag.pointwise in target.tags:
        rule = RULES["add"]
    return rule is not None and rule(operation)


def _name(target: OpOverload) -> str:
    return str(target._schema.name).rsplit("::", 1)[-1]
