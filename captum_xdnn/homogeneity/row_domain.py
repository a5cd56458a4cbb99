"""Where the batch is in a tensor, and an operation as the rules of rows see it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import sympy
import torch
from torch.fx import Node
from torch.utils import _pytree as pytree

from captum_xdnn.homogeneity.nodes import is_number


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
        self.arguments = arguments_of(node)
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
        return counts(self.arguments.values())


def rank_of(node: Node) -> int:
    """Number of dimensions of a tensor."""
    return int(node.meta["val"].dim())


def arguments_of(node: Node) -> dict[str, Any]:
    """All arguments of an operation by name, with the defaults of those that are not given."""
    target: Any = node.target
    schema = target._schema.arguments
    arguments = {a.name: a.default_value for a in schema}
    arguments.update(zip((a.name for a in schema), node.args, strict=False))
    arguments.update(node.kwargs)
    return arguments


def counts(values: Iterable[Any]) -> bool:
    """Whether a number among the values, or inside of them, depends on the batch size."""
    leaves = pytree.tree_leaves(list(values))
    return any(isinstance(leaf, Node) and is_number(leaf.meta.get("val")) for leaf in leaves)
