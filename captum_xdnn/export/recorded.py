"""A function as its watched runs show it: the recorded operations, for any number of rows.

The user's Python is never shown a symbolic tensor. It runs as always, at several batch sizes and
places of the ray; the integers in which the runs differ are lengths ``slope * rows + offset``, and
where they differ in anything else nothing is exported.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_xdnn._torch import decomposition_table
from captum_xdnn.errors import TraceError
from captum_xdnn.export.runs import ONE_SIZE, Run, needed_of
from captum_xdnn.proof.baseline_values import plain_arithmetic
from captum_xdnn.proof.verdict import Verdict
from captum_xdnn.recording.calls_of_torch import RECURRENT
from captum_xdnn.recording.node import Node, map_nodes
from captum_xdnn.routes.repeated_head import repeated, with_gradient_of

RESIZING = (
    "upsample_linear1d",
    "upsample_bilinear2d",
    "upsample_trilinear3d",
    "upsample_bicubic2d",
)
"""Torch does not trace their backward pass for an open batch size: they are written as what they are made of."""


@dataclass(frozen=True)
class Length:
    """An integer of a run that the batch size decides."""

    slope: int
    offset: int

    def of(self, rows: Any) -> Any:
        """The integer for so many rows."""
        return self.slope * rows + self.offset


class Differs(Exception):  # noqa: N818 - control flow inside this room, never shown
    """Two runs differ in more than their batch size explains; the arguments are a node and what of it."""


@dataclass(frozen=True)
class Recorded:
    """The operations of a function, in order, and what they take.

    Attributes:
        verdict: What is proved of the run that they are of.
        nodes: All that the output is computed from, by an operation.
        calls: For each of them its arguments, with lengths among them.
        sources: The tensors that the run took and did not compute, by node; no arguments of the call.
        arguments: The nodes of those arguments of the call that are tensors and are used, by position.
        is_for_any_size: Whether it is for any batch size, or for that of the run alone.
    """

    verdict: Verdict
    nodes: tuple[Node, ...]
    calls: Mapping[Node, tuple[Any, Any]]
    sources: Mapping[Node, Tensor]
    arguments: Mapping[int, Node]
    is_for_any_size: bool

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The nodes of the inputs."""
        return self.verdict.graph.inputs

    @property
    def output(self) -> Node:
        """The node of what the function returns."""
        found = self.verdict.graph.output
        if found is None:
            raise TraceError("the function returns something other than one tensor")
        return found

    def repeat(self, nodes: Sequence[Node], known: dict[Node, Any], rows: Any) -> None:
        """Compute some of the nodes, of what is known, for a batch of so many rows."""
        for node in nodes:
            args, kwargs = self.calls[node]
            args = map_nodes(_of_length(args, rows), known.__getitem__)
            kwargs = map_nodes(_of_length(kwargs, rows), known.__getitem__)
            with nullcontext() if node.graded else torch.no_grad(), plain_arithmetic():
                result = _computed(node, args, kwargs)
            if node.ungraded_write and args and isinstance(result, Tensor):
                result = with_gradient_of(args[0], result)
            known[node] = result


def recorded(runs: Sequence[Run]) -> Recorded:
    """The function that several runs at different batch sizes show; of one run, for its batch size.

    Raises:
        TraceError: If they differ in more than their lengths.
    """
    base = runs[0]
    sizes = [run.size for run in runs]
    orders = [needed_of(run.graph) for run in runs]
    try:
        if len({len(order) for order in orders}) > 1:
            raise Differs(orders[0][-1], "how many operations it runs")
        pairs = [dict(zip(order, orders[0], strict=True)) for order in orders]
        calls = {}
        for each in zip(*orders, strict=True):
            node = each[0]
            if any(str(other.target) != str(node.target) for other in each):
                raise Differs(node, "the operation itself")
            if any(other.graded != node.graded for other in each):
                raise Differs(node, "whether gradients are recorded")
            if node.target is None:
                continue
            merge = _Merging(node, sizes, pairs)
            calls[node] = (
                merge.of([other.args for other in each]),
                merge.of([other.kwargs for other in each]),
            )
    except Differs as found:
        node, what = found.args
        reason = f"it runs otherwise at other batch sizes or values ({sizes} rows): {what}"
        raise base.refused(node, reason, ONE_SIZE) from None
    arguments = base.arguments()
    sources = {
        node: base.tape.sources[number]
        for number, node in base.graph.sources.items()
        if node in pairs[0] and node not in arguments.values()
    }
    for index, run in enumerate(runs):
        back = {base_node: node for node, base_node in pairs[index].items()}
        for node, tensor in sources.items():
            other = run.tape.sources[back[node].number]
            if other is not tensor and not _is_equal(other, tensor):
                reason = "it takes a tensor that is another one at other batch sizes or values"
                raise base.refused(next(iter(node.users), node), reason, ONE_SIZE)
    nodes = tuple(node for node in orders[0] if node.target is not None)
    used = {position: node for position, node in arguments.items() if node in pairs[0]}
    return Recorded(base.verdict, nodes, calls, sources, used, len(runs) > 1)


class _Merging:
    """The arguments of one operation in several runs, as one."""

    def __init__(
        self, node: Node, sizes: Sequence[int], pairs: Sequence[Mapping[Node, Node]]
    ) -> None:
        self._node, self._sizes, self._pairs = node, sizes, pairs

    def of(self, parts: Sequence[Any]) -> Any:
        first = parts[0]
        if any(type(part) is not type(first) for part in parts):
            raise Differs(self._node, f"{first!r} and {parts!r} among its arguments")
        if type(first) is Node:
            if any(
                pair.get(part) is not first for part, pair in zip(parts, self._pairs, strict=True)
            ):
                raise Differs(self._node, "which tensors it takes")
            return first
        if type(first) is tuple or type(first) is list:
            if len({len(part) for part in parts}) > 1:
                raise Differs(self._node, "how many arguments it takes")
            return tuple(self.of(each) for each in zip(*parts, strict=True))
        if type(first) is dict:
            if any(part.keys() != first.keys() for part in parts):
                raise Differs(self._node, "which arguments it takes")
            return {name: self.of([part[name] for part in parts]) for name in first}
        if type(first) is int:
            return self._length(parts)
        if any(part != first and repr(part) != repr(first) for part in parts):  # NaN is not itself
            raise Differs(self._node, f"{first!r} among its arguments")
        return first

    def _length(self, parts: Sequence[int]) -> Any:
        first = parts[0]
        if all(part == first for part in parts):
            return first
        # The first two sizes are neighbours, the others try the line.
        slope = (parts[1] - first) // (self._sizes[1] - self._sizes[0])
        length = Length(slope, first - slope * self._sizes[0])
        if any(length.of(s) != part for part, s in zip(parts, self._sizes, strict=True)):
            raise Differs(self._node, f"{first} among its arguments, {[*parts]}")
        return length


def _computed(node: Node, args: Any, kwargs: Any) -> Any:
    """One operation again; a recurrent layer, or a resizing, as the operations that it is made of."""
    parts = decomposition_table.get(node.target) if _is_taken_apart(node) else None
    if parts is None:
        return repeated(node, args, kwargs, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TF32, as the flags are read
        with torch.backends.mkldnn.flags(enabled=False):  # a recurrent layer is one operation there
            return parts(*args, **kwargs)


def _is_taken_apart(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.name.rpartition("::")[2] in (*RECURRENT, *RESIZING)


def _of_length(value: Any, rows: Any) -> Any:
    kind = type(value)
    if kind is Length:
        return value.of(rows)
    if kind is tuple:
        return tuple([_of_length(part, rows) for part in value])
    if kind is dict:
        return {name: _of_length(part, rows) for name, part in value.items()}
    return value


def _is_equal(one: Tensor, other: Tensor) -> bool:
    alike = one.shape == other.shape and one.dtype == other.dtype and one.device == other.device
    return alike and torch.equal(one, other)
