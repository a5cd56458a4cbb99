"""A recorded run as a graph of plain nodes, functional: what was written in place is a new value.

Nodes are named as in ``torch.fx``: a placeholder is a tensor that the run did not compute, a
``call_function`` an operation. A result among several is taken by ``operator.getitem``.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from captum_xdnn._torch import OpOverload, pytree
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.operations import Operation, functional_twin
from captum_xdnn.recording.steps import (
    BOUNDED,
    OPAQUE,
    UNSEEN,
    Mixed,
    Real,
    Ref,
    Source,
    Step,
    TensorInfo,
    forms_in,
)


@dataclass(frozen=True)
class Event:
    """Something that concerns the whole run: a value that is read, memory that is replaced."""

    kind: str
    nodes: tuple[Node, ...]
    step: int


@dataclass(frozen=True)
class Graph:
    """The structure of a run.

    Attributes:
        nodes: In the order of the run.
        inputs: Those of the inputs that are attributed.
        sources: By number, those of the other tensors that the run did not compute.
        output: What the function returned; None if that is no tensor.
        size: The batch size.
        coarsest: The largest unit of rounding among the floating dtypes of the results.
    """

    nodes: list[Node]
    inputs: tuple[Node, ...]
    sources: dict[int, Node]
    output: Node | None
    events: tuple[Event, ...]
    size: int
    coarsest: float
    kept: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)


def graph_of(inputs: Sequence[Tensor], path: Sequence[Step]) -> Graph:
    """The graph of a run that has ended."""
    return _Reading(inputs).read(path)


class _Reading:
    def __init__(self, inputs: Sequence[Tensor]) -> None:
        self._values: dict[int, Node] = {}
        self._nodes: list[Node] = []
        self._sources: dict[int, Node] = {}
        self._events: list[Event] = []
        self._count = 0
        self._step = -1
        self._size = inputs[0].shape[0] if inputs[0].dim() else 0
        for index, x in enumerate(inputs):
            info = TensorInfo(x.shape, None, x.dtype, x.device)
            self._place(Node(f"input{index}", None, value=info, number=index))

    def read(self, path: Sequence[Step]) -> Graph:
        inputs = tuple(self._nodes)
        output: Node | None = None
        coarsest = 0.0
        for self._step, step in enumerate(path):
            if isinstance(step.op, Operation):
                self._operation(step.op, step)
                forms = forms_in(step.results)
                rounded = [i for i in forms if i.is_floating_point() or i.is_complex()]
                coarsest = max([coarsest, *(torch.finfo(info.dtype).eps for info in rounded)])
            elif step.op == "return":
                given = [self._decoded(part) for part in step.signature[1]]
                output = given[0] if len(given) == 1 else None
            elif step.op == UNSEEN:
                for info in step.results:
                    self._place(Node("unseen", None, value=info, flaw=UNSEEN))
            elif step.op == BOUNDED:
                for part in step.signature[1]:
                    self._decoded(part).bounded = True
            else:
                decoded = [self._decoded(part) for part in step.signature[1]]
                nodes = tuple(n for n in pytree.tree_leaves(decoded) if type(n) is Node)
                Node(step.op, step.op, nodes, step=self._step)  # whoever reads them, uses them
                self._events.append(Event(step.op, nodes, self._step))
        return Graph(
            self._nodes, inputs, self._sources, output, tuple(self._events), self._size, coarsest
        )

    def _operation(self, operation: Operation, step: Step) -> None:
        signature = step.signature
        tail = signature[-1]
        args = tuple([self._decoded(part) for part in signature[1:-1]])
        kwargs = {name: self._decoded(held) for name, held in tail.named}
        target: Any = operation.overload
        if operation.writes:
            twin = functional_twin(operation.overload)
            if twin is not None:
                target, dropped = twin
                kwargs = {name: held for name, held in kwargs.items() if name != dropped}
        node = Node(
            f"{operation.overload._schema.name.rpartition('::')[2]}_{self._step}",
            target,
            args,
            kwargs,
            value=step.results,
            step=self._step,
            flaw=OPAQUE if tail.foreign else "",
            graded=tail.graded,
        )
        node.ungraded_write = bool(operation.writes) and not tail.graded
        if operation.by_storage and not (tail.extra or same_form(node)):
            node.flaw = BY_STORAGE
        if (
            node.flaw == ""
            and operation.writes
            and any(map(overlaps_itself, forms_in(step.results)))
        ):
            node.flaw = BY_STORAGE
        self._results(node)
        for held in operation.written_beside(args, kwargs):
            beside = Node(f"written_{self._step}", written_beside, (node, held), value=held.value)
            beside.step, beside.flaw = self._step, "an operation writes it beside its results"
            self._place(beside)

    def _results(self, node: Node) -> None:
        """Number the results of an operation."""
        if not isinstance(node.value, tuple | None):
            self._place(node)
            return
        self._nodes.append(node)
        for index, info in enumerate(node.value or ()):
            if info is not None:
                part = Node(f"{node.name}_{index}", operator.getitem, (node, index), value=info)
                part.step, part.flaw, part.graded = node.step, node.flaw, node.graded
                self._place(part)

    def _place(self, node: Node) -> Node:
        node.number = self._count
        self._values[self._count] = node
        self._nodes.append(node)
        self._count += 1
        return node

    def _decoded(self, part: Any) -> Any:
        kind = type(part)
        if kind is Ref:
            return self._values[part.number]
        if kind is Real:
            return float.fromhex(part.hexadecimal)
        if kind is Source:
            name = f"source{self._count}"
            node = self._place(Node(name, None, value=part.info, flaw=part.flaw))
            self._sources[node.number] = node
            return node
        if kind is Mixed:
            return self._mixed(part)
        if kind is tuple:
            return tuple([self._decoded(each) for each in part])
        return part

    def _mixed(self, mixed: Mixed) -> Node:
        """A tensor whose memory was written through others, as a value of its own."""
        before = self._values[mixed.before.number]
        writes = [self._values[token.number] for token in mixed.writes]
        value = before
        for write in writes:
            if value is not before:
                self._nodes.append(value)
            value = self._overwritten(value, before, write)
            value.step = self._step
        return self._place(value)

    def _overwritten(self, value: Node, before: Node, write: Node) -> Node:
        """A tensor after one write into its memory."""
        target = write.args[0] if write.args and type(write.args[0]) is Node else None
        bits = _shows_bits(target) or _shows_bits(before)
        if target is not None and not bits and not overlaps_itself(before.value):
            down = _views(target, before)
            if down is not None:  # a part of it was written
                return Node("overwritten", overwritten, (value, write, down), value=before.value)
            up = _views(before, target)
            if up is not None:  # it is a part of what was written
                return Node("shown_again", shown_again, (write, up), value=before.value)
        flaw = OF_BITS if bits else ""
        return Node("mixed", written_beside, (value, write), value=before.value, flaw=flaw)


def in_form(node: Node, result: Any) -> Any:
    """What a functional twin gives, in the dtype of the memory that was written.

    ``x.gt_(0)`` leaves floating numbers, where ``x.gt(0)`` gives truth values.
    """
    if isinstance(node.value, TensorInfo) and isinstance(result, Tensor):
        return result if result.dtype == node.value.dtype else result.to(node.value.dtype)
    return result


OF_BITS = "its memory is written as numbers of another dtype"
BY_STORAGE = "what it shows depends on memory that is not the tensor's own"


def overwritten(value: Tensor, part: Tensor, views: tuple[Any, ...]) -> Tensor:
    """A tensor a view of which was written, by the operations that lead to the view."""
    whole = value.clone()
    shown_again(whole, views).copy_(part)
    return whole


def shown_again(value: Tensor, views: tuple[Any, ...]) -> Tensor:
    """A view of a tensor, by the operations that lead to it, each with its further arguments."""
    view: Tensor = value
    for overload, index, args, kwargs in views:
        view = overload(view, *args, **kwargs)
        view = view if index is None else view[index]
    return view


def written_beside(value: Any, write: Any) -> Any:
    """A tensor that was written in a way that cannot be repeated."""
    raise NotImplementedError(f"{value}, {write}")


def _views(node: Node, base: Node) -> tuple[Any, ...] | None:
    """The operations by which a node shows another one; None if they do not."""
    chain: list[Any] = []
    while node is not base:
        index = None
        if node.target is operator.getitem:
            source, index = node.args
            node = source
        overload = node.target
        if not isinstance(overload, OpOverload) or not node.args:
            return None
        held = node.args[0]
        literal = not any(type(a) is Node for a in (*node.args[1:], *node.kwargs.values()))
        if type(held) is not Node or not _shows(overload) or not literal or node.flaw:
            return None
        chain.append((overload, index, node.args[1:], node.kwargs))
        node = held
    return tuple(reversed(chain))


def _shows_bits(node: Any) -> bool:
    """Whether a tensor shows the bits of another one as numbers of another dtype."""
    while type(node) is Node and isinstance(node.target, OpOverload) and _shows(node.target):
        if node.target is torch.ops.aten.view.dtype:
            return True
        node = node.args[0]
    return False


def _shows(overload: Any) -> bool:
    schema = overload._schema
    first = schema.arguments[0].alias_info
    return first is not None and not first.is_write and not schema.is_mutable


def overlaps_itself(form: Any) -> bool:
    """Whether two entries of a tensor may lie at the same place in memory."""
    if not isinstance(form, TensorInfo) or form.strides is None or not form.numel():
        return False
    last = 0
    for stride, length in sorted(zip(form.strides, form.shape, strict=True)):
        if length > 1:
            if stride <= last:
                return True
            last += (length - 1) * stride
    return False


def same_form(node: Node) -> bool:
    """Whether an operation by storage shows the tensor that it is given, entry by entry."""
    before, after = node.args[0].value, node.value
    offset = node.args[3] if len(node.args) > 3 else node.kwargs.get("storage_offset")
    if before.shape != after.shape or before.strides is None or offset is not None:
        return False
    places = zip(before.shape, before.strides, after.strides, strict=True)
    return all(length == 1 or one == two for length, one, two in places)
