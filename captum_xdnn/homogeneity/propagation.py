"""Propagation: from the motions of the inputs to the motion of every tensor of a graph.

The pass claims only what the rules prove. Where they prove nothing it goes on under an
*assumption* (that the obstacle was removed), so that a report names every obstacle and not
only the first; whatever rests on an assumption is marked and never part of a claim. An
obstacle is either an operation, or a *shift*: a place where something that does not move was
added, which later met a function that is only homogeneous.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from captum_xdnn.homogeneity import registry
from captum_xdnn.homogeneity.laws import merged
from captum_xdnn.homogeneity.limits import Limits
from captum_xdnn.homogeneity.motion import (
    CONSTANT,
    FIXED,
    Affine,
    Motion,
    Power,
    Unknown,
    is_constant,
)
from captum_xdnn.homogeneity.nodes import (
    draws,
    is_mutable,
    is_never_read,
    is_operation,
    leaves_unwritten,
)
from captum_xdnn.homogeneity.operand import Operand
from captum_xdnn.homogeneity.taken_apart import parts_of
from captum_xdnn.recording.calls_of_torch import MEASURED, RAISED, READ, REPLACED
from captum_xdnn.recording.node import Node, map_nodes
from captum_xdnn.recording.operations import Operation, operation_of
from captum_xdnn.recording.run import Event, Graph, overwritten, shown_again
from captum_xdnn.recording.steps import TensorInfo
from captum_xdnn.recording.values import OPAQUE

NO_RULE = "write one with captum_xdnn.register_rule"
IN_TENSORS = "keep the computation in tensors, without Python decisions on values of tensors (if, while, .item())"
SEEN = "compute it by torch's operations, in the thread that calls"
FORM_READ = "the shape of what an operation without a rule returns may depend on values that move"
VALUE_READ = "Python reads a value that moves, and may decide by it"
MEMORY_REPLACED = "a tensor's memory is exchanged, or written where no operation shows it"
LARGEST = 2**24
"""Of larger tensors it is not looked whether all parts were written."""
OF_PROCESSES = "c10d."
"""What processes exchange beside the computation: DistributedDataParallel agrees on its buckets."""
DEEPEST = 4
"""So often operations are taken apart into operations that are taken apart."""


@dataclass(frozen=True)
class Obstacle:
    """Something that keeps a motion from being proved, at one node."""

    node: Node
    reason: str
    remedy: str
    is_shift: bool
    source: Node | None = None


@dataclass
class Propagation:
    """The result of a pass.

    Attributes:
        motions: Motion of every node; proved where ``assumed`` is 0, else conditional.
        assumed: For each node, the obstacles it rests on, as bits of ``obstacles``.
        obstacles: All obstacles and shifts, in the order of the graph.
        everywhere: Obstacles that concern the whole run, as bits.
        promoted: The affine nodes whose value at the baseline was found to be zero.
    """

    motions: dict[Node, Any]
    assumed: dict[Node, int]
    obstacles: list[Obstacle]
    everywhere: int = 0
    promoted: frozenset[Node] = frozenset()

    def proved(self, node: Node) -> Motion:
        """The motion of a node that holds without any assumption."""
        motion = self.motions[node]
        if self.everywhere or self.assumed.get(node, 0) or not isinstance(motion, Motion):
            return Unknown("it rests on something that is not proved")
        return motion

    def blocking(self, node: Node) -> list[Obstacle]:
        """The obstacles that a node rests on, first one first."""
        bits = self.assumed.get(node, 0)
        return [o for i, o in enumerate(self.obstacles) if bits >> i & 1]


def propagate(
    graph: Graph, limits: Limits, inputs: dict[Node, Motion], shifts: dict[Node, str]
) -> Propagation:
    """Propagate motions through the graph of a run.

    Args:
        graph: The graph.
        limits: Values at the baseline, for the questions that rules ask.
        inputs: Motion of each input placeholder: ``Affine``, or ``Power(1)`` at a zero baseline.
        shifts: For affine inputs, why they are not zero at the baseline.
    """
    return _Pass(limits, inputs, shifts).run(graph)


class _Pass:
    def __init__(
        self, limits: Limits, inputs: dict[Node, Motion], shifts: dict[Node, str], depth: int = 0
    ) -> None:
        self._depth = depth
        self._limits = limits
        self._inputs = inputs
        self._reasons = shifts
        self._operands: dict[Node, Operand] = {}
        self._several: dict[Node, tuple[Motion, ...]] = {}
        self._assumed: dict[Node, int] = {}
        self._shifts: dict[Node, int] = {}
        self._bent: set[Node] = set()
        self._obstacles: list[Obstacle] = []
        self._everywhere = 0
        self._output: Node | None = None
        self._sized: set[Node] = set()
        self._reached: set[Node] = set(inputs)
        self._promoted: set[Node] = set()

    def run(self, graph: Graph) -> Propagation:
        self._output = graph.output
        events = iter(graph.events)
        event = next(events, None)
        read = {node for e in graph.events for node in e.nodes}
        for node in graph.nodes:
            while event is not None and node.step > event.step:
                self._happened(event)
                event = next(events, None)
            if node.op == "placeholder":
                self._source(node)
            elif node.users or node is graph.output or node in read or hands_out(node):
                self._step(node)
        while event is not None:
            self._happened(event)
            event = next(events, None)
        if self._everywhere and graph.output is not None:
            bits = self._assumed.get(graph.output, 0) | self._everywhere
            self._assumed[graph.output] = bits
        motions: dict[Node, Any] = dict(self._several)
        motions.update({node: operand.motion for node, operand in self._operands.items()})
        return Propagation(
            motions,
            self._assumed,
            self._obstacles,
            self._everywhere,
            frozenset(self._promoted),
        )

    def _happened(self, event: Event) -> None:
        """Something that concerns the whole run: what Python reads it may decide anything by."""
        if event.kind == RAISED:
            return
        if event.kind == MEASURED and self._sized.isdisjoint(event.nodes):
            return
        moving = [n for n in event.nodes if not self._is_fixed(n)]
        if event.kind == READ and not moving:
            return
        reason, remedy = VALUE_READ, IN_TENSORS
        if event.kind == REPLACED:
            reason, remedy = MEMORY_REPLACED, "leave tensors' memory alone inside of the function"
        place = Node(event.kind, event.kind, event.nodes, step=event.step)
        self._everywhere |= self._note(place, reason, remedy, is_shift=False)

    def _is_fixed(self, node: Node) -> bool:
        operand = self._operands.get(node)
        return operand is not None and operand.motion == FIXED and node not in self._assumed

    def _read(self, node: Node, operands: list[Operand]) -> None:
        """A value that an operation hands to Python, or a shape that values decide."""
        if not is_operation(node.target):
            return
        operation = operation_of(node.target)
        if operation.sized_by_values:
            # How many entries there are may not change along the ray.
            deciding = [o for o in operands if _decides_size(node, o.node)]
            moving = [o for o in deciding if not is_constant(o.motion) or o.node in self._assumed]
        elif _tells(operation, node):
            moving = [o for o in operands if o.motion != FIXED or o.node in self._assumed]
        else:
            return
        if moving:
            self._everywhere |= self._note(node, VALUE_READ, IN_TENSORS, is_shift=False)

    def _source(self, node: Node) -> None:
        motion = self._inputs.get(node, FIXED)
        if node.flaw:
            note = self._note(node, node.flaw, SEEN, is_shift=False)
            self._settle(node, Power(1), note, 0)
            return
        self._settle(node, motion, 0, 0)
        if isinstance(motion, Affine):
            remedy = "use the zero baseline, or one that the first layer maps to zero"
            self._shifts[node] = self._note(node, self._reasons[node], remedy, is_shift=True)

    def _step(self, node: Node) -> None:
        sources = node.all_input_nodes
        if not self._reached.isdisjoint(sources):
            self._reached.add(node)
        assumed = _joined(self._assumed.get(source, 0) for source in sources)
        if node.target is operator.getitem and node.args[0] in self._several:
            self._pick(node, assumed)
            return
        operands = [self._operands[s] for s in sources if s in self._operands]
        self._read(node, operands)
        if node.value is None:
            return
        bent = [o for o in operands if isinstance(o.motion, Affine)]
        carried = _joined(self._shifts.get(operand.node, 0) for operand in bent)
        outcome = self._outcome(node, operands, {})
        if _fails(outcome) and bent:
            outcome = self._outcome(node, operands, self._straightened(bent))
            assumed |= carried
            bent, carried = [], 0
        if self._is_sized(node):  # so many entries only on this ray
            self._sized.add(node)
            outcome = _map(lambda m: CONSTANT if m == FIXED else m, outcome)
        failure = _fails(outcome)
        if failure:
            if self._shows_form(node) and node in self._reached:
                self._everywhere |= self._note(node, FORM_READ, IN_TENSORS, is_shift=False)
            assumed |= self._note(node, failure.reason, failure.remedy, is_shift=False)
            outcome = _map(lambda m: m.assume if isinstance(m, Unknown) else m, outcome)
        if any(isinstance(m, Affine) for m in _flat(outcome)):
            carried |= self._own_shift(node, operands, bent, outcome)
        else:
            carried = 0
        if bent:
            self._bent.add(node)
        self._settle(node, outcome, assumed, carried, promote=bool(bent))

    def _is_sized(self, node: Node) -> bool:
        """Whether the number of entries depends on values that depend on the inputs."""
        if not self._sized.isdisjoint(node.all_input_nodes):
            return True
        if not is_operation(node.target) or not operation_of(node.target).sized_by_values:
            return False
        deciding = (self._operands.get(n) for n in node.all_input_nodes if _decides_size(node, n))
        return any(o is None or o.motion != FIXED for o in deciding)

    def _shows_form(self, node: Node) -> bool:
        """Whether the form of a result may depend on values, and nobody says how."""
        name = registry.name_of(node.target)
        if not is_operation(node.target) or registry.is_known(name):
            return False
        infos = node.value if isinstance(node.value, tuple) else (node.value,)
        sparse = any(i is not None and i.strides is None for i in infos)
        return sparse or not (node.users or node is self._output)

    def _pick(self, node: Node, assumed: int) -> None:
        several: Any = node.args[0]
        index: Any = node.args[1]
        motion = self._several[several][index]
        if several in self._sized:
            self._sized.add(node)
        shifts = self._shifts.get(several, 0) if isinstance(motion, Affine) else 0
        self._settle(node, motion, assumed, shifts, promote=several in self._bent)

    def _straightened(self, bent: list[Operand]) -> dict[Node, Operand]:
        """Affine operands as they would be if their value at the baseline were zero."""
        return {o.node: Operand(Power(1), o.node, self._limits) for o in bent}

    def _own_shift(
        self, node: Node, operands: list[Operand], bent: list[Operand], outcome: Any
    ) -> int:
        """The shift that this operation adds itself, as a bit; 0 if it only passes one on."""
        if bent:
            outcome = self._outcome(node, operands, self._straightened(bent))
        causes = [m.cause for m in _flat(outcome) if isinstance(m, Affine)]
        if not causes:
            return 0
        remedy = "remove it (bias=False), or set it to zero, and retrain"
        return self._note(node, causes[0], remedy, is_shift=True)

    def _settle(
        self, node: Node, outcome: Any, assumed: int, shifts: int, *, promote: bool = False
    ) -> None:
        """Record what is known of a node; the one promotion happens here."""
        if assumed:
            self._assumed[node] = assumed
        if shifts:
            self._shifts[node] = shifts
        if isinstance(node.value, tuple):
            self._several[node] = (
                outcome if isinstance(outcome, tuple) else (outcome,) * len(node.value)
            )
            return
        motion = outcome[0] if isinstance(outcome, tuple) else outcome
        operand = Operand(motion, node, self._limits)
        self._operands[node] = operand
        self._limits.track(node, motion)
        if promote and isinstance(motion, Affine) and operand.is_zero():
            operand.motion = Power(1)
            self._promoted.add(node)
            self._limits.track(node, operand.motion)
            self._shifts.pop(node, None)

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
        inside = _Pass(Limits({}, {}), inputs, shifts, self._depth + 1).run(graph)
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

    def _note(self, node: Node, reason: str, remedy: str, *, is_shift: bool) -> int:
        self._obstacles.append(Obstacle(node, reason, remedy, is_shift))
        return 1 << len(self._obstacles) - 1


def _checked(motion: Motion, info: TensorInfo | None, *, limitless: bool) -> Motion:
    if isinstance(motion, Affine) and limitless:
        return Unknown("the value at the baseline depends on the input")
    scales = isinstance(motion, Affine) or (isinstance(motion, Power) and motion.degree != 0)
    if scales and info is not None and not (info.is_floating_point() or info.is_complex()):
        return Unknown("a whole number that would have to scale")
    return motion


def hands_out(node: Node) -> bool:
    """Whether an operation shows Python a value, or a shape that values decide."""
    if not is_operation(node.target):
        return node.value is None
    operation = operation_of(node.target)
    unknown = not registry.is_known(operation.name)
    return node.value is None or operation.sized_by_values or unknown or _tells(operation, node)


def _tells(operation: Operation, node: Node) -> bool:
    """Whether an operation hands Python a value; those with a rule return numbers that are sizes."""
    if operation.reads or (node.value is None and not operation.writes):
        return True
    return (operation.tells or node.value is None) and not registry.is_known(operation.name)


def _decides_size(node: Node, operand: Node) -> bool:
    """Whether the values of an operand decide how many entries a result has."""
    if node.target._schema.name in ("aten::index", "aten::masked_select"):
        return operand.value.dtype in (torch.bool, torch.uint8) and operand is not node.args[0]
    return True


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


def _joined(bits: Iterable[int]) -> int:
    """All bits that are set in one of several numbers."""
    joined = 0
    for each in bits:
        joined |= each
    return joined


def _fails(outcome: Any) -> Unknown | None:
    return next((m for m in _flat(outcome) if isinstance(m, Unknown)), None)


def _flat(outcome: Any) -> Iterator[Any]:
    return iter(outcome if isinstance(outcome, tuple) else (outcome,))


def _map(function: Callable[[Any], Any], outcome: Any) -> Any:
    return tuple(map(function, outcome)) if isinstance(outcome, tuple) else function(outcome)
