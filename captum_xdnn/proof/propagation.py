"""Propagation: from the motions of the inputs to the motion of every tensor of a graph.

The pass claims only what the rules prove. Where they prove nothing it goes on under an
*assumption* (that the obstacle was removed), so that a report names every obstacle and not
only the first; whatever rests on an assumption is marked and never part of a claim. An
obstacle is either an operation, or a *shift*: a place where something that does not move was
added, which later met a function that is only homogeneous.
"""

import operator
from collections import ChainMap
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from captum_xdnn.proof.baseline_values import BaselineValues, InsideValues
from captum_xdnn.proof.domain import (
    FIXED,
    SCALE_INVARIANT,
    Affine,
    Motion,
    Power,
    Unknown,
    is_constant,
)
from captum_xdnn.proof.findings import NO_BIAS
from captum_xdnn.proof.nodes import decides_size, hands_out, has_open_form, is_operation, tells
from captum_xdnn.proof.operand import Operand
from captum_xdnn.proof.outcomes import Operands, outcome_of, written_over
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.operations import operation_of
from captum_xdnn.recording.run import Event, Graph
from captum_xdnn.recording.steps import MEASURED, RAISED, READ, REPLACED

IN_TENSORS = "keep the computation in tensors, without Python decisions on values of tensors (if, while, .item())"
SEEN = "compute it by torch's operations, in the thread that calls"
FORM_READ = "the shape of what an operation without a rule returns may depend on values that move"
SAY_FORM = "say what shape it returns (torch.library.register_fake), or register a rule"
VALUE_READ = "Python reads a value that moves, and may decide by it"
LEAVE_MEMORY = "leave tensors' memory alone inside of the function"
MEMORY_REPLACED = "a tensor's memory is exchanged, or written where no operation shows it"

DEEPEST = 4
"""So often operations are taken apart into operations that are taken apart."""


@dataclass(frozen=True)
class Obstacle:
    """Something that keeps a motion from being proved, at one node."""

    node: Node
    reason: str
    remedy: str
    source: Node | None = None


@dataclass
class Propagation:
    """What a pass finds: the motion (or motions) of every node, conditional where anything is assumed.

    ``assumed`` holds what a node rests on, and ``everywhere`` what the whole run does, as bits of
    ``obstacles``: these and shifts, in the order of the graph. ``promoted`` are the affine nodes that
    were found to be zero at the baseline.
    """

    motions: dict[Node, Any] = field(default_factory=dict)
    assumed: dict[Node, int] = field(default_factory=dict)
    obstacles: list[Obstacle] = field(default_factory=list)
    everywhere: int = 0
    promoted: set[Node] = field(default_factory=set)

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
    graph: Graph, values: BaselineValues, inputs: dict[Node, Motion], shifts: dict[Node, str]
) -> Propagation:
    """Propagate the motions of inputs through the graph of a run.

    An affine one has its reason in ``shifts`` why it is not zero at the baseline.
    """
    return _Pass(graph, values, inputs, shifts).run()


class _Pass:
    """The walk along a graph; bits of obstacles join where tensors meet."""

    def __init__(
        self,
        graph: Graph,
        values: BaselineValues,
        inputs: dict[Node, Motion],
        shifts: dict[Node, str],
        depth: int = 0,
    ) -> None:
        self._graph, self._values = graph, values
        self._inputs, self._reasons = inputs, shifts
        self._depth = depth
        self._found = Propagation()
        self._assumed = self._found.assumed
        self._operands: dict[Node, Operand] = {}
        self._shifts: dict[Node, int] = {}
        self._affine: set[Node] = set()  # whatever takes an affine tensor
        self._sized: set[Node] = set()
        self._reached = set(inputs)

    def run(self) -> Propagation:
        graph, found = self._graph, self._found
        events = list(reversed(graph.events))
        read = {node for event in events for node in event.nodes}
        for node in graph.nodes:
            while events and node.step > events[-1].step:
                self._happened(events.pop())
            if node.op == "placeholder":
                self._source(node)
            elif node.users or node is graph.output or node in read or hands_out(node):
                self._step(node)
        while events:
            self._happened(events.pop())
        if found.everywhere and graph.output is not None:
            self._assumed[graph.output] = self._assumed.get(graph.output, 0) | found.everywhere
        found.motions.update({node: operand.motion for node, operand in self._operands.items()})
        return found

    def _happened(self, event: Event) -> None:
        """Something that concerns the whole run: what Python reads it may decide anything by."""
        if event.kind == RAISED:
            return
        if event.kind == MEASURED and self._sized.isdisjoint(event.nodes):
            return
        if event.kind == READ and all(map(self._is_fixed, event.nodes)):
            return
        place = Node(event.kind, event.kind, event.nodes, step=event.step)
        if event.kind == REPLACED:
            self._concerns_all(place, MEMORY_REPLACED, LEAVE_MEMORY)
        else:
            self._concerns_all(place, VALUE_READ, IN_TENSORS)

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
            self._concerns_all(node, VALUE_READ, IN_TENSORS)

    def _source(self, node: Node) -> None:
        if node.flaw:
            self._settle(node, Power(1), self._note(node, node.flaw, SEEN), 0)
            return
        motion = self._inputs.get(node, FIXED)
        remedy = "use the zero baseline, or one that the first layer maps to zero"
        shift = self._note(node, self._reasons[node], remedy) if isinstance(motion, Affine) else 0
        self._settle(node, motion, 0, shift)

    def _step(self, node: Node) -> None:
        sources = node.all_input_nodes
        if not self._reached.isdisjoint(sources):
            self._reached.add(node)
        unread = written_over(node, self._operands)
        assumed = _joined(self._assumed.get(s, 0) for s in sources if s not in unread)
        if node.target is operator.getitem and node.args[0] in self._found.motions:
            self._pick(node, assumed)
            return
        every = self._operands
        taken: MutableMapping[Node, Operand] = ChainMap(unread, every) if unread else every
        operands = [taken[s] for s in sources if s in taken]
        self._read(node, operands)
        if node.value is None:
            return
        affine = [o for o in operands if isinstance(o.motion, Affine)]
        # Affine operands as they would be if their value at the baseline were zero.
        straight = {o.node: Operand(Power(1), o.node, self._values) for o in affine}
        straightened = ChainMap(straight, taken) if affine else taken
        carried = _joined(self._shifts.get(operand.node, 0) for operand in affine)
        outcome = self._outcome(node, taken)
        if _fails(outcome) and affine:
            outcome = self._outcome(node, straightened)
            assumed |= carried
            affine, carried = [], 0
        if self._is_sized(node):  # so many entries only on this ray
            self._sized.add(node)
            outcome = _map(lambda m: SCALE_INVARIANT if m == FIXED else m, outcome)
        failure = _fails(outcome)
        if failure:
            assumed |= self._note(node, failure.reason, failure.remedy)
            read = not node.users and node is not self._graph.output
            if node in self._reached and has_open_form(node, read=read):
                self._concerns_all(node, FORM_READ, SAY_FORM)
            outcome = _map(lambda m: m.assume if isinstance(m, Unknown) else m, outcome)
        if any(isinstance(m, Affine) for m in _flat(outcome)):
            own = self._outcome(node, straightened) if affine else outcome
            carried |= self._own_shift(node, own)
        else:
            carried = 0
        if affine:
            self._affine.add(node)
        self._settle(node, outcome, assumed, carried, promote=bool(affine))

    def _outcome(self, node: Node, operands: Operands) -> Any:
        inside = self._inside if self._depth < DEEPEST else None
        return outcome_of(node, operands, inside, reached=node in self._reached)

    def _inside(self, graph: Graph, taken: dict[Node, Operand]) -> Propagation:
        """What is found in the parts of an operation, which takes these operands."""
        motions = {node: operand.motion for node, operand in taken.items()}
        shifts = dict.fromkeys(taken, "it is not zero at the baseline")
        return _Pass(graph, InsideValues(taken), motions, shifts, self._depth + 1).run()

    def _is_sized(self, node: Node) -> bool:
        """Whether the number of entries depends on values that depend on the inputs."""
        if not self._sized.isdisjoint(node.all_input_nodes):
            return True
        if not is_operation(node.target) or not operation_of(node.target).sized_by_values:
            return False
        deciding = (self._operands.get(n) for n in node.all_input_nodes if decides_size(node, n))
        return any(o is None or o.motion != FIXED for o in deciding)

    def _pick(self, node: Node, assumed: int) -> None:
        several, index = node.args
        motion = self._found.motions[several][index]
        if several in self._sized:
            self._sized.add(node)
        shifts = self._shifts.get(several, 0) if isinstance(motion, Affine) else 0
        self._settle(node, motion, assumed, shifts, promote=several in self._affine)

    def _own_shift(self, node: Node, outcome: Any) -> int:
        """The shift that an operation adds itself, as a bit; 0 if it only passes one on."""
        causes = [m.cause for m in _flat(outcome) if isinstance(m, Affine)]
        if not causes:
            return 0
        return self._note(node, causes[0], NO_BIAS)

    def _settle(
        self, node: Node, outcome: Any, assumed: int, shifts: int, *, promote: bool = False
    ) -> None:
        """Record what is known of a node; the one promotion happens here."""
        if assumed:
            self._assumed[node] = assumed
        if shifts:
            self._shifts[node] = shifts
        if isinstance(node.value, tuple):
            several = isinstance(outcome, tuple)
            self._found.motions[node] = outcome if several else (outcome,) * len(node.value)
            return
        motion = _flat(outcome)[0]
        operand = self._operands[node] = Operand(motion, node, self._values)
        self._values.track(node, motion)
        if promote and isinstance(motion, Affine) and operand.is_zero():
            operand.motion = Power(1)
            self._found.promoted.add(node)
            self._values.track(node, operand.motion)
            self._shifts.pop(node, None)

    def _concerns_all(self, node: Node, reason: str, remedy: str) -> None:
        self._found.everywhere |= self._note(node, reason, remedy)

    def _note(self, node: Node, reason: str, remedy: str) -> int:
        self._found.obstacles.append(Obstacle(node, reason, remedy))
        return 1 << len(self._found.obstacles) - 1


def _joined(bits: Iterable[int]) -> int:
    """All bits that are set in one of several numbers."""
    return reduce(operator.or_, bits, 0)


def _fails(outcome: Any) -> Unknown | None:
    return next((m for m in _flat(outcome) if isinstance(m, Unknown)), None)


def _flat(outcome: Any) -> tuple[Any, ...]:
    return outcome if isinstance(outcome, tuple) else (outcome,)


def _map(function: Callable[[Any], Any], outcome: Any) -> Any:
    return tuple(map(function, outcome)) if isinstance(outcome, tuple) else function(outcome)
