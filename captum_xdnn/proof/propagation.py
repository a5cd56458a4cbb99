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
from typing import Any

from captum_xdnn.proof import registry
from captum_xdnn.proof.baseline_values import Limits
from captum_xdnn.proof.domain import (
    CONSTANT,
    FIXED,
    Affine,
    Motion,
    Power,
    Unknown,
    is_constant,
)
from captum_xdnn.proof.nodes import (
    decides_size,
    hands_out,
    is_operation,
    tells,
)
from captum_xdnn.proof.obstacles import Obstacle, Propagation
from captum_xdnn.proof.operand import Operand
from captum_xdnn.proof.outcomes import Outcomes
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.operations import operation_of
from captum_xdnn.recording.run import Event, Graph
from captum_xdnn.recording.steps import MEASURED, RAISED, READ, REPLACED

IN_TENSORS = "keep the computation in tensors, without Python decisions on values of tensors (if, while, .item())"
SEEN = "compute it by torch's operations, in the thread that calls"
FORM_READ = "the shape of what an operation without a rule returns may depend on values that move"
VALUE_READ = "Python reads a value that moves, and may decide by it"
MEMORY_REPLACED = "a tensor's memory is exchanged, or written where no operation shows it"


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


def _inside(
    graph: Graph, inputs: dict[Node, Motion], shifts: dict[Node, str], depth: int
) -> Propagation:
    return _Pass(Limits({}, {}), inputs, shifts, depth).run(graph)


class _Pass(Outcomes):
    def __init__(
        self, limits: Limits, inputs: dict[Node, Motion], shifts: dict[Node, str], depth: int = 0
    ) -> None:
        super().__init__(depth, _inside)
        self._limits = limits
        self._inputs = inputs
        self._reasons = shifts
        self._assumed: dict[Node, int] = {}
        self._shifts: dict[Node, int] = {}
        self._bent: set[Node] = set()
        self._obstacles: list[Obstacle] = []
        self._everywhere = 0
        self._output: Node | None = None
        self._sized: set[Node] = set()
        self._reached |= set(inputs)
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
            deciding = [o for o in operands if decides_size(node, o.node)]
            moving = [o for o in deciding if not is_constant(o.motion) or o.node in self._assumed]
        elif tells(operation, node):
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
        deciding = (self._operands.get(n) for n in node.all_input_nodes if decides_size(node, n))
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

    def _note(self, node: Node, reason: str, remedy: str, *, is_shift: bool) -> int:
        self._obstacles.append(Obstacle(node, reason, remedy, is_shift))
        return 1 << len(self._obstacles) - 1


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
