"""What one operation makes of the motions that it is given: by its rule, or by its parts."""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch

from captum_xdnn.proof import registry
from captum_xdnn.proof.baseline_values import BaselineValues
from captum_xdnn.proof.domain import (
    FIXED,
    SCALE_INVARIANT,
    Affine,
    Motion,
    Power,
    Unknown,
    is_constant,
)
from captum_xdnn.proof.laws import merged
from captum_xdnn.proof.nodes import draws, is_mutable, is_never_read, is_operation, leaves_unwritten
from captum_xdnn.proof.operand import Operand
from captum_xdnn.proof.taken_apart import parts_of
from captum_xdnn.recording.node import Node, map_nodes
from captum_xdnn.recording.run import Graph, overwritten, shown_again
from captum_xdnn.recording.steps import OPAQUE, TensorInfo

NO_RULE = "write one with captum_xdnn.register_rule"
COARSEST = 2.0**-7
"""The unit of rounding of bfloat16; what is coarser (float8) is no rounding any more."""
LARGEST = 2**24
"""Of larger tensors it is not looked whether all parts were written."""
OF_PROCESSES = "c10d."
"""What processes exchange beside the computation: DistributedDataParallel agrees on its buckets."""

Operands = Mapping[Node, Operand]
Inside = Callable[[Graph, dict[Node, Operand]], Any]
"""Propagates through the parts of an operation, from what it takes."""


def outcome_of(node: Node, operands: Operands, inside: Inside | None, *, reached: bool) -> Any:
    """The motion (or motions) of a node's result, ``Unknown`` where nothing is proved.

    Without ``inside`` the operation is not taken apart; it is ``reached`` if it takes anything that is
    computed from the inputs.
    """
    sources = node.all_input_nodes
    motions = {operands[source].motion for source in sources if source in operands}
    if node.flaw:
        return FIXED if motions <= {FIXED} and node.flaw != OPAQUE else Unknown(node.flaw)
    if not is_operation(node.target):
        return _checked(_of_write(node, operands), node.value, limitless=False)
    name = registry.name_of(node.target)
    if any(isinstance(source.value, tuple) for source in sources):
        return Unknown(f"{name} takes a list of results", NO_RULE)
    if name.startswith(OF_PROCESSES) and not reached:
        return FIXED
    undetermined = _undetermined(node, name)
    if undetermined is not None:
        return undetermined
    if all(is_constant(motion) for motion in motions) and not draws(node):
        return FIXED if motions <= {FIXED} else SCALE_INVARIANT
    return _by_rule(node, name, operands, inside)


def _by_rule(node: Node, name: str, operands: Operands, inside: Inside | None) -> Any:
    """What the rule of an operation says, or the rules of what it is made of."""
    if name in registry.RULES:
        lookup: Callable[[Node], Any] = lambda n: operands.get(n, n)  # noqa: E731
        args, kwargs = map_nodes(node.args, lookup), map_nodes(node.kwargs, lookup)
        try:
            outcome = registry.RULES[name](*args, **kwargs)
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
            return Unknown(f"the rule for {name} failed: {failure}", NO_RULE)
        return _sound(node, outcome, operands)
    if name in registry.REFUSED:
        return registry.REFUSED[name]
    outcome = None if inside is None else _taken_apart(node, operands, inside)
    if outcome is None:
        return Unknown(f"there is no rule for the operation {name}", NO_RULE)
    return _sound(node, outcome, operands)


def _of_write(node: Node, operands: Operands) -> Any:
    """A tensor whose memory was written through another."""
    seen = [operands[n] for n in node.args[:2] if type(n) is Node]
    if node.target is shown_again:
        return seen[0].motion
    if node.target is overwritten:
        base, parts = _layers(node)
        if registry.name_of(base.target) in registry.VOLATILE:
            if not _covered(base, parts):
                return Unknown("memory of which a part was never written", "use torch.zeros")
            return merged([operands[part] for part, _ in parts])
    outcome = merged(seen)
    beside = node.target is not overwritten and isinstance(outcome, Affine)
    return Unknown("a tensor that was written through another one") if beside else outcome


def _taken_apart(node: Node, operands: Operands, inside: Inside) -> Any:
    """The motions of the results, by the operations that torch makes this one of; None if unknown."""
    graph = parts_of(node)
    if graph is None:
        return None
    taken = [operands[n] for n in node.all_input_nodes]
    found = inside(graph, dict(zip(graph.inputs, taken, strict=True)))
    if found.everywhere:
        return None
    results: list[Any] = []
    for output in graph.kept["outputs"]:
        motion = FIXED if output is None else found.motions[output]
        blocking = [] if output is None else found.blocking(output)
        if blocking:
            motion = Unknown(blocking[0].reason, blocking[0].remedy)
        results.append(motion)
    return tuple(results) if isinstance(node.value, tuple) else results[0]


def _sound(node: Node, outcome: Any, operands: Operands) -> Any:
    """What holds whatever a rule says: integers cannot scale, limits must exist."""
    motions = [operands[n].motion for n in node.all_input_nodes if n in operands]
    limitless = any(isinstance(motion, Power) and motion.degree <= 0 for motion in motions)
    value = node.value
    infos = list(value) if isinstance(value, tuple) else [value]
    found = list(outcome) if isinstance(outcome, tuple) else [outcome] * len(infos)
    if len(found) != len(infos) or not all(isinstance(m, Motion) for m in found):
        return Unknown(f"the rule for {node.target} did not return one motion per result")
    checked = [_checked(m, info, limitless=limitless) for m, info in zip(found, infos, strict=True)]
    return tuple(checked) if isinstance(value, tuple) else checked[0]


def _checked(motion: Motion, info: TensorInfo | None, *, limitless: bool) -> Motion:
    if isinstance(motion, Affine) and limitless:
        return Unknown("the value at the baseline depends on the input")
    scales = isinstance(motion, Affine) or (isinstance(motion, Power) and motion.degree != 0)
    if not scales or info is None:
        return motion
    if not (info.is_floating_point() or info.is_complex()):
        return Unknown("a whole number that would have to scale")
    if torch.finfo(info.dtype).eps > COARSEST:
        return Unknown(f"numbers in {info.dtype}, which truncates", "stay in a floating dtype")
    return motion


class _NeverRead(BaselineValues):
    """Whatever is asked of memory that is not read, is so."""

    def vanishes(self, *_: Any) -> bool:
        return True


def written_over(node: Node, operands: Operands) -> dict[Node, Operand]:
    """Memory that nobody has written and all of which an operation writes, as that operation sees it."""
    first = node.args[0] if node.args else None
    covers = registry.COVERS.get(registry.name_of(node.target))
    if (
        covers is None
        or type(first) is not Node
        or first in (*node.args[1:], *node.kwargs.values())
    ):
        return {}
    if registry.name_of(first.target) not in registry.VOLATILE:
        return {}
    args = map_nodes(node.args, lambda n: operands.get(n, n))
    return {first: Operand(FIXED, first, _NeverRead({}, {}))} if covers(*args) else {}


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
        shown_again(seen, views).fill_(True)
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
