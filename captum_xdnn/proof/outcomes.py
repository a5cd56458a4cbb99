"""What one operation makes of the motions that it is given: by its rule, or by its parts."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch

from captum_xdnn.proof import registry
from captum_xdnn.proof.domain import (
    CONSTANT,
    FIXED,
    Affine,
    Motion,
    Power,
    Unknown,
    is_constant,
)
from captum_xdnn.proof.laws import merged
from captum_xdnn.proof.nodes import (
    draws,
    is_mutable,
    is_never_read,
    is_operation,
    leaves_unwritten,
)
from captum_xdnn.proof.operand import Operand
from captum_xdnn.proof.taken_apart import parts_of
from captum_xdnn.recording.node import Node, map_nodes
from captum_xdnn.recording.run import overwritten, shown_again
from captum_xdnn.recording.steps import OPAQUE, TensorInfo

NO_RULE = "write one with captum_xdnn.register_rule"
LARGEST = 2**24
"""Of larger tensors it is not looked whether all parts were written."""
OF_PROCESSES = "c10d."
"""What processes exchange beside the computation: DistributedDataParallel agrees on its buckets."""
DEEPEST = 4
"""So often operations are taken apart into operations that are taken apart."""


class Outcomes:
    """The motions of the results of single operations.

    Args:
        depth: How often what is looked at was taken apart.
        inside: Propagates through the parts of an operation, from the motions of their inputs.
    """

    def __init__(self, depth: int, inside: Callable[..., Any]) -> None:
        self._depth = depth
        self._inside = inside
        self._operands: dict[Node, Operand] = {}
        self._several: dict[Node, tuple[Motion, ...]] = {}
        self._reached: set[Node] = set()

    def _outcome(self, node: Node, operands: list[Operand], swapped: dict[Node, Operand]) -> Any:
        """The motion (or motions) of a node's result, ``Unknown`` where nothing is proved."""
        seen = [swapped.get(o.node, o) for o in operands]
        motions = {o.motion for o in seen}
        if node.flaw:
            return FIXED if motions <= {FIXED} and node.flaw != OPAQUE else Unknown(node.flaw)
        if not is_operation(node.target):
            return self._of_write(node, swapped)
        name = registry.name_of(node.target)
        if any(source in self._several for source in node.all_input_nodes):
            return Unknown(f"{name} takes a list of results", NO_RULE)
        if name.startswith(OF_PROCESSES) and node not in self._reached:
            return FIXED
        undetermined = _undetermined(node, name)
        if undetermined is not None:
            return undetermined
        random = draws(node)
        if motions <= {FIXED} and not random:
            return FIXED
        if all(is_constant(motion) for motion in motions) and not random:
            return CONSTANT
        return self._by_rule(node, name, swapped, seen)

    def _by_rule(
        self, node: Node, name: str, swapped: dict[Node, Operand], seen: list[Operand]
    ) -> Any:
        """What the rule of an operation says, or the rules of what it is made of."""
        if name in registry.RULES:
            args, kwargs = self._arguments(node, swapped)
            try:
                outcome = registry.RULES[name](*args, **kwargs)
            except Exception as error:
                failure = f"{type(error).__name__}: {error}"
                return Unknown(f"the rule for {name} failed: {failure}", NO_RULE)
            return self._sound(node, outcome, seen)
        refused = registry.REFUSED.get(name)
        if refused is not None:
            return refused
        outcome = self._taken_apart(node, swapped)
        if outcome is None:
            return Unknown(f"there is no rule for the operation {name}", NO_RULE)
        return self._sound(node, outcome, seen)

    def _arguments(self, node: Node, swapped: dict[Node, Operand]) -> tuple[Any, Any]:
        lookup: Callable[[Node], Any] = lambda n: swapped.get(n, self._operands.get(n, n))  # noqa: E731
        return map_nodes(node.args, lookup), map_nodes(node.kwargs, lookup)

    def _of_write(self, node: Node, swapped: dict[Node, Operand]) -> Any:
        """A tensor whose memory was written through another."""
        lookup = [swapped.get(n, self._operands[n]) for n in node.args[:2] if type(n) is Node]
        if node.target is shown_again:
            return lookup[0].motion
        if node.target is overwritten:
            base, parts = _layers(node)
            if registry.name_of(base.target) in registry.VOLATILE:
                if not _covered(base, parts):
                    return Unknown("memory of which a part was never written", "use torch.zeros")
                written = [self._operands[part] for part, _ in parts]
                return merged([swapped.get(o.node, o) for o in written])
        outcome = merged(lookup)
        beside = node.target is not overwritten and isinstance(outcome, Affine)
        return Unknown("a tensor that was written through another one") if beside else outcome

    def _taken_apart(self, node: Node, swapped: dict[Node, Operand]) -> Any:
        """The motions of the results, by the operations that torch makes this one of."""
        graph = None if self._depth >= DEEPEST else parts_of(node)
        if graph is None:
            return None
        operands = [swapped.get(n, self._operands[n]) for n in node.all_input_nodes]
        inputs = {p: o.motion for p, o in zip(graph.inputs, operands, strict=True)}
        shifts = dict.fromkeys(graph.inputs, "it is not zero at the baseline")
        inside = self._inside(graph, inputs, shifts, self._depth + 1)
        if inside.everywhere:
            return None
        results: list[Any] = []
        for output in graph.kept["outputs"]:
            motion = FIXED if output is None else inside.motions[output]
            blocking = [] if output is None else inside.blocking(output)
            if blocking:
                motion = Unknown(blocking[0].reason, blocking[0].remedy)
            results.append(motion)
        return tuple(results) if isinstance(node.value, tuple) else results[0]

    def _sound(self, node: Node, outcome: Any, operands: list[Operand]) -> Any:
        """What holds whatever a rule says: integers cannot scale, limits must exist."""
        limitless = any(isinstance(o.motion, Power) and o.motion.degree <= 0 for o in operands)
        value = node.value
        infos = list(value) if isinstance(value, tuple) else [value]
        motions = list(outcome) if isinstance(outcome, tuple) else [outcome] * len(infos)
        if len(motions) != len(infos) or not all(isinstance(m, Motion) for m in motions):
            return Unknown(f"the rule for {node.target} did not return one motion per result")
        checked = [
            _checked(motion, info, limitless=limitless)
            for motion, info in zip(motions, infos, strict=True)
        ]
        return tuple(checked) if isinstance(value, tuple) else checked[0]


def _checked(motion: Motion, info: TensorInfo | None, *, limitless: bool) -> Motion:
    if isinstance(motion, Affine) and limitless:
        return Unknown("the value at the baseline depends on the input")
    scales = isinstance(motion, Affine) or (isinstance(motion, Power) and motion.degree != 0)
    if scales and info is not None and not (info.is_floating_point() or info.is_complex()):
        return Unknown("a whole number that would have to scale")
    return motion


def _layers(node: Node) -> tuple[Node, list[tuple[Node, Any]]]:
    """The tensor that was written part by part, and the parts with the views that lead there."""
    parts: list[tuple[Node, Any]] = []
    while node.target is overwritten:
        parts.append((node.args[1], node.args[2]))
        node = node.args[0]
    return node, parts


def _covered(base: Node, parts: list[tuple[Node, Any]]) -> bool:
    """Whether the parts are all of a tensor."""
    shape = base.value.shape
    if prod(shape) > LARGEST:
        return False
    seen = torch.zeros(shape, dtype=torch.bool)
    for _, views in parts:
        view = seen
        for overload, index, args, kwargs in views:
            view = overload(view, *args, **kwargs)
            view = view if index is None else view[index]
        view.fill_(True)
    return bool(seen.all())


def _undetermined(node: Node, name: str) -> Motion | None:
    """The motion of what its arguments do not determine: memory, random numbers; else None."""
    if name in registry.VOLATILE and is_never_read(node):
        return FIXED
    if leaves_unwritten(node):
        return Unknown(
            "torch returns uninitialised memory for a median along an expanded dimension",
            "call .contiguous() before it",
        )
    if name in registry.VOLATILE or (is_mutable(node.target) and name not in registry.RULES):
        return registry.REFUSED.get(name, _random(name))
    random = draws(node) and not registry.is_known(name)
    return _random(name) if random else None


def _random(name: str) -> Unknown:
    return Unknown(f"{name} is random or writes into its arguments", "call model.eval()")
