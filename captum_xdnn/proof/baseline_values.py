"""Values at the baseline: the limit of a tensor as the ray shrinks to its start.

Only what does not depend on the input has one: ``Fixed`` and ``Affine`` tensors have a
concrete value, ``Power(k)`` with ``k > 0`` is zero there, and ``Power(k <= 0)`` has none (a
mask at the baseline is not the mask on the ray). Values are computed when a rule asks, by the
operations of the run, and every question is noted with its answer: a verdict that leaned on a zero
bias is asked again in each call.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_xdnn.proof.domain import Motion, Power, Unknown
from captum_xdnn.proof.nodes import is_operation
from captum_xdnn.recording.node import Node, map_nodes
from captum_xdnn.recording.run import in_form, overwritten, shown_again

OF_A_KIND = ("aten.new_zeros.default", "aten.new_ones.default", "aten.new_full.default")
"""They take the dtype and the device of their first argument, and neither its values nor its shape."""


class Unavailable(Exception):  # noqa: N818 - control flow inside this room, never shown
    """A value at the baseline does not exist or is not known."""


@dataclass(frozen=True)
class Question:
    """Whether a function of some nodes' values at the baseline is exactly zero."""

    function: Callable[..., Any]
    nodes: tuple[Node, ...]


class BaselineValues:
    """Computes values at the baseline from those of placeholders, and notes which questions were asked.

    With ``graph`` they can be differentiated by what they are computed from.
    """

    def __init__(
        self, values: Mapping[Node, Any], motions: Mapping[Node, Any], *, graph: bool = False
    ) -> None:
        self._graph = graph
        self._values, self._motions = dict(values), dict(motions)
        self.answers: dict[Question, bool] = {}

    def track(self, node: Node, motion: Motion) -> None:
        """Let the motion of a node be known, so that values behind it can be computed."""
        self._motions[node] = motion

    def vanishes(self, function: Callable[..., Tensor], nodes: Sequence[Node]) -> bool:
        """Whether ``function`` of the nodes' values is exactly zero; see ``Operand.vanishes``."""
        question = Question(function, tuple(nodes))
        known = self.answers.get(question)
        if known is not None:
            return known
        try:
            answer = self.answer([question])[0]
        except Unavailable:
            return False
        self.answers[question] = answer
        return answer

    def answer(self, questions: Iterable[Question]) -> list[bool]:
        """The answers to several questions, with one wait for each device.

        Raises:
            Unavailable: If a value does not exist or is not known.
        """
        flags: list[Tensor] = []
        with torch.no_grad(), plain_arithmetic():
            for question in questions:
                values = [self.value(node) for node in question.nodes]
                flags.append(torch.as_tensor(question.function(*values)).any())
        if all(flag.device.type == "cpu" for flag in flags):
            return [not bool(flag) for flag in flags]
        found: dict[torch.device, list[bool]] = {}
        for device in {flag.device for flag in flags}:
            if device.type == "meta":
                raise Unavailable(device)
            found[device] = torch.stack([f for f in flags if f.device == device]).tolist()
        return [not found[flag.device].pop(0) for flag in flags]

    def value(self, node: Node) -> Any:
        """The concrete value of a node at the baseline.

        Raises:
            Unavailable: If it has none.
        """
        stack = [node]
        while stack:
            current = stack[-1]
            known = current in self._values
            waiting = [] if known else [n for n in self._needs(current) if n not in self._values]
            stack.extend(waiting)
            if not waiting:
                stack.pop()
                if not known:
                    self._values[current] = self._compute(current)
        return self._values[node]

    def _needs(self, node: Node) -> list[Node]:
        """The nodes whose values the value of this node is computed from."""
        if isinstance(self._motions.get(node), Power):
            return []
        kind = _kind_of(node)
        return [n for n in node.all_input_nodes if n is not kind]

    def _compute(self, node: Node) -> Any:
        value, motion = node.value, self._motions.get(node)
        if isinstance(motion, Power) and not isinstance(value, tuple):
            if motion.degree <= 0:
                raise Unavailable(node.name)
            return torch.zeros(value.shape, dtype=value.dtype, device=value.device)
        if isinstance(motion, Unknown) or not _is_repeatable(node):
            raise Unavailable(node.name)
        known, kind = self._values, _kind_of(node)
        if kind is not None:  # the tensor itself may have a value that nobody knows
            of = kind.value
            known = {**known, kind: torch.empty(0, dtype=of.dtype, device=of.device)}
        args = map_nodes(node.args, known.__getitem__)
        kwargs = map_nodes(node.kwargs, known.__getitem__)
        with torch.enable_grad() if self._graph else torch.no_grad(), plain_arithmetic():
            try:
                return in_form(node, node.target(*args, **kwargs))
            except (RuntimeError, NotImplementedError, ValueError, IndexError, TypeError) as error:
                raise Unavailable(node.name) from error


class InsideValues(BaselineValues):
    """Of the parts of an operation: known is of a tensor that it takes what is known outside."""

    def __init__(self, taken: Mapping[Node, Any]) -> None:
        super().__init__({}, {})
        self._taken = taken

    def vanishes(self, function: Callable[..., Tensor], nodes: Sequence[Node]) -> bool:
        """See there; nothing is known of what the parts compute."""
        if not all(node in self._taken for node in nodes):
            return False
        first, *others = (self._taken[node] for node in nodes)
        return bool(first.vanishes(function, *others))


def _is_repeatable(node: Node) -> bool:
    """Whether an operation gives the same again: not a layout of memory that values here do not keep."""
    if node.op != "call_function" or node.flaw:
        return False
    if node.target in (overwritten, shown_again) or not is_operation(node.target):
        return node.target is not None
    return not node.target._schema.name.startswith("aten::as_strided")


def _kind_of(node: Node) -> Node | None:
    """The argument that a new tensor is of the kind of, unless it is needed otherwise as well."""
    if str(node.target) not in OF_A_KIND or type(node.args[0]) is not Node:
        return None
    kind = node.args[0]
    again = [n for n in (*node.args[1:], *node.kwargs.values()) if n is kind]
    return None if again else kind


def plain_arithmetic() -> ExitStack:
    """No autocast: the run holds the casts that autocast made, explicitly."""
    stack = ExitStack()
    for device in ("cpu", "cuda"):
        if torch.is_autocast_enabled(device):
            stack.enter_context(torch.autocast(device, enabled=False))
    return stack
