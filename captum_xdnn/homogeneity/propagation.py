"""Propagation: from the motions of the inputs to the motion of every tensor of a graph.

The pass claims only what the rules prove. Where they prove nothing it goes on under an
*assumption* (that the obstacle was removed), so that a report names every obstacle and not
only the first; whatever rests on an assumption is marked and never part of a claim. An
obstacle is either an operation, or a *shift*: a place where something that does not move was
added, which later met a function that is only homogeneous.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Node
from torch.fx.node import map_arg

from captum_xdnn.homogeneity import registry
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
    counts_values,
    is_mutable,
    is_never_read,
    is_number,
    is_random,
    leaves_unwritten,
    unbacked,
)
from captum_xdnn.homogeneity.operand import Operand

if TYPE_CHECKING:
    from captum_xdnn.homogeneity.tracing import Traced

NO_RULE = "write one with captum_xdnn.register_rule"
PLAIN = "write it without torch's control-flow operators"


@dataclass(frozen=True)
class Obstacle:
    """Something that keeps a motion from being proved, at one node."""

    node: Node
    reason: str
    remedy: str
    is_shift: bool


@dataclass
class Propagation:
    """The result of a pass.

    Attributes:
        motions: Motion of every node; proved where ``assumed`` is 0, else conditional.
        assumed: For each node, the obstacles it rests on, as bits of ``obstacles``.
        obstacles: All obstacles and shifts, in the order of the graph.
    """

    motions: dict[Node, Any]
    assumed: dict[Node, int]
    obstacles: list[Obstacle]

    def proved(self, node: Node) -> Motion:
        """The motion of a node that holds without any assumption."""
        motion = self.motions[node]
        if self.assumed.get(node, 0) or not isinstance(motion, Motion):
            return Unknown("it rests on something that is not proved")
        return motion

    def blocking(self, node: Node) -> list[Obstacle]:
        """The obstacles that a node rests on, first one first."""
        bits = self.assumed.get(node, 0)
        return [o for i, o in enumerate(self.obstacles) if bits >> i & 1]


def propagate(
    traced: Traced, limits: Limits, inputs: dict[Node, Motion], shifts: dict[Node, str]
) -> Propagation:
    """Propagate motions through a traced graph.

    Args:
        traced: The graph.
        limits: Values at the baseline, for the questions that rules ask.
        inputs: Motion of each input placeholder: ``Affine``, or ``Power(1)`` at a zero baseline.
        shifts: For affine inputs, why they are not zero at the baseline.
    """
    return _Pass(limits, inputs, shifts).run(traced)


class _Pass:
    def __init__(self, limits: Limits, inputs: dict[Node, Motion], shifts: dict[Node, str]) -> None:
        self._limits = limits
        self._inputs = inputs
        self._reasons = shifts
        self._operands: dict[Node, Operand] = {}
        self._several: dict[Node, tuple[Motion, ...]] = {}
        self._assumed: dict[Node, int] = {}
        self._shifts: dict[Node, int] = {}
        self._bent: set[Node] = set()
        self._obstacles: list[Obstacle] = []

    def run(self, traced: Traced) -> Propagation:
        for node in traced.graph.nodes:
            if node.op in ("placeholder", "get_attr"):
                self._source(node)
            elif node.op == "call_function" and node.users:
                self._step(node)
        motions: dict[Node, Any] = dict(self._several)
        motions.update({node: operand.motion for node, operand in self._operands.items()})
        return Propagation(motions, self._assumed, self._obstacles)

    def _source(self, node: Node) -> None:
        motion = self._inputs.get(node, FIXED)
        self._settle(node, motion, 0, 0)
        if isinstance(motion, Affine):
            remedy = "use the zero baseline, or one that the first layer maps to zero"
            self._shifts[node] = self._note(node, self._reasons[node], remedy, is_shift=True)

    def _step(self, node: Node) -> None:
        sources = node.all_input_nodes
        assumed = 0
        for source in sources:
            assumed |= self._assumed.get(source, 0)
        if node.target is operator.getitem and node.args[0] in self._several:
            self._pick(node, assumed)
            return
        operands = [self._operands[s] for s in sources if s in self._operands]
        bent = [o for o in operands if isinstance(o.motion, Affine)]
        carried = 0
        for operand in bent:
            carried |= self._shifts.get(operand.node, 0)
        outcome = self._outcome(node, operands, {})
        if _fails(outcome) and bent:
            outcome = self._outcome(node, operands, self._straightened(bent))
            assumed |= carried
            bent, carried = [], 0
        failure = _fails(outcome)
        if failure:
            assumed |= self._note(node, failure.reason, failure.remedy, is_shift=False)
            outcome = _map(lambda m: m.assume if isinstance(m, Unknown) else m, outcome)
        if any(isinstance(m, Affine) for m in _flat(outcome)):
            carried |= self._own_shift(node, operands, bent, outcome)
        else:
            carried = 0
        if bent:
            self._bent.add(node)
        self._settle(node, outcome, assumed, carried, promote=bool(bent))

    def _pick(self, node: Node, assumed: int) -> None:
        several: Any = node.args[0]
        index: Any = node.args[1]
        motion = self._several[several][index]
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
        if isinstance(node.meta.get("val"), list | tuple):
            self._several[node] = (
                outcome if isinstance(outcome, tuple) else (outcome,) * len(node.meta["val"])
            )
            return
        motion = outcome[0] if isinstance(outcome, tuple) else outcome
        operand = Operand(motion, node, self._limits)
        self._operands[node] = operand
        self._limits.track(node, motion)
        if promote and isinstance(motion, Affine) and operand.is_zero():
            operand.motion = Power(1)
            self._limits.track(node, operand.motion)
            self._shifts.pop(node, None)

    def _outcome(self, node: Node, operands: list[Operand], swapped: dict[Node, Operand]) -> Any:
        """The motion (or motions) of a node's result, ``Unknown`` where nothing is proved."""
        seen = [swapped.get(o.node, o) for o in operands]
        name = registry.name_of(node.target)
        motions = {o.motion for o in seen}
        if is_number(node.meta.get("val")) and not unbacked(node):
            return FIXED
        if not isinstance(node.target, OpOverload) and not is_number(node.meta.get("val")):
            return Unknown(f"{name} is control flow or a higher-order operation", PLAIN)
        if any(source in self._several for source in node.all_input_nodes):
            return Unknown(f"{name} takes a list of results", NO_RULE)
        random = is_random(node.target)
        undetermined = _undetermined(node, name)
        if undetermined is not None:
            return undetermined
        if motions <= {FIXED} and not random:
            return FIXED
        if all(is_constant(motion) for motion in motions) and not random:
            return CONSTANT
        if name not in registry.RULES:
            return registry.REFUSED.get(
                name, Unknown(f"there is no rule for the operation {name}", NO_RULE)
            )
        lookup: Callable[[Node], Any] = lambda n: swapped.get(n, self._operands.get(n, n))  # noqa: E731
        args, kwargs = map_arg(node.args, lookup), map_arg(node.kwargs, lookup)
        try:
            outcome = registry.RULES[name](*args, **kwargs)
        except Exception as error:
            return Unknown(f"the rule for {name} failed: {type(error).__name__}: {error}", NO_RULE)
        return self._sound(node, outcome, seen)

    def _sound(self, node: Node, outcome: Any, operands: list[Operand]) -> Any:
        """What holds whatever a rule says: integers cannot scale, limits must exist."""
        limitless = any(isinstance(o.motion, Power) and o.motion.degree <= 0 for o in operands)
        value = node.meta.get("val")
        fakes = list(value) if isinstance(value, list | tuple) else [value]
        motions = list(outcome) if isinstance(outcome, tuple) else [outcome] * len(fakes)
        if len(motions) != len(fakes) or not all(isinstance(m, Motion) for m in motions):
            return Unknown(f"the rule for {node.target} did not return one motion per result")
        checked = [
            _checked(motion, fake, limitless=limitless)
            for motion, fake in zip(motions, fakes, strict=True)
        ]
        return tuple(checked) if isinstance(value, list | tuple) else checked[0]

    def _note(self, node: Node, reason: str, remedy: str, *, is_shift: bool) -> int:
        self._obstacles.append(Obstacle(node, reason, remedy, is_shift))
        return 1 << len(self._obstacles) - 1


def _checked(motion: Motion, fake: Any, *, limitless: bool) -> Motion:
    if isinstance(motion, Affine) and limitless:
        return Unknown("the value at the baseline depends on the input")
    scales = isinstance(motion, Affine) or (isinstance(motion, Power) and motion.degree != 0)
    whole = isinstance(fake, Tensor) and not (fake.is_floating_point() or fake.is_complex())
    if scales and (whole or is_number(fake)):
        return Unknown("a whole number or Python number that would have to scale")
    # How many entries there are may depend on the input even where their values do not.
    counted = isinstance(fake, Tensor) and any(map(counts_values, fake.shape))
    return CONSTANT if motion == FIXED and counted else motion


def _undetermined(node: Node, name: str) -> Motion | None:
    """The motion of what its arguments do not determine: memory, random numbers; else None."""
    if name in registry.VOLATILE and is_never_read(node):
        return FIXED
    if leaves_unwritten(node):
        return Unknown(
            "torch returns uninitialised memory for a median along an expanded dimension",
            "call .contiguous() before it",
        )
    if name in registry.VOLATILE or is_mutable(node.target):
        return registry.REFUSED.get(name, _random(name))
    return _random(name) if is_random(node.target) and name not in registry.RULES else None


def _random(name: str) -> Unknown:
    return Unknown(f"{name} is random or writes into its arguments", "call model.eval()")


def _fails(outcome: Any) -> Unknown | None:
    return next((m for m in _flat(outcome) if isinstance(m, Unknown)), None)


def _flat(outcome: Any) -> Iterator[Any]:
    return iter(outcome if isinstance(outcome, tuple) else (outcome,))


def _map(function: Callable[[Any], Any], outcome: Any) -> Any:
    return tuple(map(function, outcome)) if isinstance(outcome, tuple) else function(outcome)
