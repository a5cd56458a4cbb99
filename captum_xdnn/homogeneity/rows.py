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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import sympy
import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Node
from torch.utils import _pytree as pytree

from captum_xdnn.homogeneity.nodes import is_mutable, is_number, is_random


@dataclass(frozen=True)
class Shared:
    """A tensor without rows."""


@dataclass(frozen=True)
class Rows:
    """A tensor with rows.

    Attributes:
        dim: The dimension that holds the batch.
        width: Neighbouring entries of that dimension that belong to one row.
        outer: How often the whole batch stands in that dimension.
    """

    dim: int
    width: int = 1
    outer: int = 1

    def nested(self, outer: int) -> Rows | None:
        """The same entries with the batch standing there ``outer`` times, if that is possible."""
        width, rest = divmod(self.width * self.outer, outer)
        return None if rest else Rows(self.dim, width, outer)


SHARED = Shared()
State = Shared | Rows | None


def place_of(shape: Sequence[Any], batch: sympy.Symbol, same: Sequence[sympy.Symbol] = ()) -> State:
    """Where the batch is in a shape, if it stands there once; ``SHARED`` if nowhere, else None.

    Args:
        shape: The shape.
        batch: The symbol of the batch size.
        same: Further symbols for it.
    """
    found: State = SHARED
    for dim, size in enumerate(shape):
        if not isinstance(size, torch.SymInt):
            continue
        width = sympy.sympify(size.node.expr).xreplace(dict.fromkeys(same, batch)) / batch
        if found != SHARED or not width.is_Integer:
            return None
        found = Rows(dim, int(width))
    return found


class Operation:
    """An operation on tensors of which at least one has rows, as a rule sees it.

    Attributes:
        arguments: All arguments by name.
        held: The tensors with rows, with the place of the rows.
        shared: The tensors without.
        place: The place of the batch in the result, in the first if there are several.
        shape: The shape of that result.
    """

    def __init__(self, node: Node, states: dict[Node, Any], place: Rows, shape: Any) -> None:
        self.arguments = _arguments(node)
        self._states = states
        tensors = [n for n in node.all_input_nodes if not is_number(n.meta.get("val"))]
        self.held = [(n, s) for n in tensors if isinstance(s := states[n], Rows)]
        self.shared = [n for n in tensors if not isinstance(states[n], Rows)]
        self.place = place
        self.shape = shape

    def __getitem__(self, name: str) -> Any:
        return self.arguments.get(name)

    @property
    def data(self) -> Any:
        """The first argument."""
        return next(iter(self.arguments.values()))

    def state(self, value: Any) -> State:
        """The place of a tensor's rows; ``SHARED`` for what is no tensor."""
        state: State = self._states[value] if isinstance(value, Node) else SHARED
        return state

    def lone(self) -> Rows | None:
        """The place of the rows of the first argument, if no other argument has rows."""
        alone = len(self.held) == 1 and self.held[0][0] is self.data
        return self.held[0][1] if alone else None

    def common(self) -> Rows | None:
        """The place of the rows of all tensors, if all have rows and all at one place."""
        places = {state for _, state in self.held}
        return places.pop() if len(places) == 1 and not self.shared else None

    def common_outer(self) -> int:
        """How often the batch stands in the dimension of every tensor with rows; 0 if it varies."""
        outer = {state.outer for _, state in self.held}
        return outer.pop() if len(outer) == 1 else 0

    def reshaped_outer(self) -> int:
        """The same for the result, if the entries only change dimensions; 0 if it is no number."""
        node, state = self.held[0]
        before = prod(map(int, node.meta["val"].shape[: state.dim])) * state.outer
        outer, rest = divmod(before, prod(map(int, self.shape[: self.place.dim])))
        return 0 if rest else outer

    def counts_rows(self) -> bool:
        """Whether an argument is a number that depends on the batch size."""
        return _counts(self.arguments.values())


Rule = Callable[[Operation], bool]
RULES: dict[str, Rule] = {}
"""For each operation, by name without its overload, whether it keeps rows apart."""

CONSTANT: set[str] = set()
"""Operations that put one and the same entry into every row of a new batch."""
FRESH: set[str] = set()
"""Those of them that take nothing but the dtype and device of the tensor they are given."""
RESHAPING: set[str] = set()
"""Operations that keep the entries in order and change the dimensions alone."""


def rank_of(node: Node) -> int:
    """Number of dimensions of a tensor."""
    return int(node.meta["val"].dim())


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
    from captum_xdnn.homogeneity import row_rules  # noqa: F401 - enters the rules

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
        counted = _counts(v for n, v in _arguments(node).items() if n not in ("size", "repeats"))
        fixed = not counted and (_name(target) in CONSTANT or not _counts(node.args))
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


def _arguments(node: Node) -> dict[str, Any]:
    target: Any = node.target
    schema = target._schema.arguments
    arguments = {a.name: a.default_value for a in schema}
    arguments.update(zip((a.name for a in schema), node.args, strict=False))
    arguments.update(node.kwargs)
    return arguments


def _counts(values: Iterable[Any]) -> bool:
    leaves = pytree.tree_leaves(list(values))
    return any(isinstance(leaf, Node) and is_number(leaf.meta.get("val")) for leaf in leaves)
