"""Where the batch is in a tensor, and an operation as the rules of rows see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from captum_xdnn.proof.nodes import arguments_of
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.steps import TensorInfo


@dataclass(frozen=True)
class Unbatched:
    """A tensor without rows; along its ``uniform`` dimensions all entries are the same."""

    uniform: frozenset[int] = frozenset()


@dataclass(frozen=True)
class BatchDim:
    """A tensor with rows in dimension ``dim``.

    So many neighbouring entries belong to one row (``width``), and so often does the whole batch
    stand there (``outer``).
    """

    dim: int
    width: int = 1
    outer: int = 1

    def at(self, dim: int) -> BatchDim:
        """The same in another dimension."""
        return replace(self, dim=dim)


class NoPlace(Exception):  # noqa: N818 - control flow inside this room, never shown
    """Nothing is proved of the rows of a result."""


UNBATCHED = Unbatched()
State = Unbatched | BatchDim | None


class BatchedCall:
    """An operation on tensors of which at least one has rows, as a rule sees it.

    It has its ``node``, all arguments by name, the tensors with rows and those without, each with its state, and the
    ``shape`` of the result in question.
    """

    def __init__(
        self, node: Node, states: dict[Node, Any], shape: Sequence[int], size: int
    ) -> None:
        self.node, self.arguments = node, arguments_of(node)
        self._states = states
        nodes = node.all_input_nodes
        self.batched = [(n, s) for n in nodes if isinstance(s := states[n], BatchDim)]
        self.unbatched = [(n, states[n]) for n in nodes if not isinstance(states[n], BatchDim)]
        self.shape = shape
        self._size = size

    def __getitem__(self, name: str) -> Any:
        return self.arguments.get(name)

    @property
    def data(self) -> Any:
        """The first argument."""
        return next(iter(self.arguments.values()))

    def state(self, value: Any) -> State:
        """The place of a tensor's rows; ``UNBATCHED`` for what is no tensor."""
        state: State = self._states[value] if type(value) is Node else UNBATCHED
        return state

    def lone(self) -> BatchDim:
        """The place of the rows of the first argument, where no other argument has rows."""
        if len(self.batched) != 1 or self.batched[0][0] is not self.data:
            raise NoPlace
        return self.batched[0][1]

    def common(self) -> BatchDim:
        """The place of the rows of all tensors that have some, where the others are the same for all."""
        place = self.batched[0][1]
        alike = all(state == place for _, state in self.batched)
        if not alike or not all(place.dim in state.uniform for _, state in self.unbatched):
            raise NoPlace
        return place

    def broadcast(self) -> BatchDim:
        """The place in the result where all tensors have their rows, counted from the last dimension.

        What has no rows has one entry there, or the same ones.
        """
        place, *others = {state.at(rank_of(node) - state.dim) for node, state in self.batched}
        if others:
            raise NoPlace
        for node, state in self.unbatched:
            dim = rank_of(node) - place.dim
            if dim >= 0 and node.value.shape[dim] != 1 and dim not in state.uniform:
                raise NoPlace
        return place.at(len(self.shape) - place.dim)

    def fits(self, place: BatchDim | None) -> BatchDim | None:
        """The place, if the result has the batch there."""
        if place is None or not 0 <= place.dim < len(self.shape):
            return None
        return place if self.shape[place.dim] == self._whole(place) else None

    def is_whole(self, node: Node, place: BatchDim) -> bool:
        """Whether a tensor is as long as the batch at a place."""
        return bool(node.value.shape[place.dim] == self._whole(place))

    def _whole(self, place: BatchDim) -> int:
        return place.outer * self._size * place.width

    def reshaped(self, state: BatchDim) -> BatchDim | None:
        """Where the rows are when the entries keep their order and the dimensions change."""
        shape = self.data.value.shape
        outer = prod(shape[: state.dim]) * state.outer
        inner = state.width * prod(shape[state.dim + 1 :])
        before = 1
        for dim, length in enumerate(self.shape):
            behind = prod(self.shape[dim + 1 :])
            if before and behind and outer % before == 0 and inner % behind == 0:
                place = BatchDim(dim, inner // behind, outer // before)
                if length == self._whole(place):
                    return place
            before *= length
        return None


def rank_of(node: Node) -> int:
    """Number of dimensions of a tensor."""
    return len(node.value.shape)


def shape_of(info: TensorInfo | None) -> Sequence[int]:
    """The shape of a result; one that is none, for what is no tensor."""
    return () if info is None else info.shape
