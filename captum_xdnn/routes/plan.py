"""The plan of hoisting: a run that is split, how its head may be run, and whether that pays or paid."""

from __future__ import annotations

import functools
import math
import operator
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch

from captum_xdnn._torch import OpOverload, has_kernel
from captum_xdnn.proof import registry
from captum_xdnn.proof.batch_dim import UNBATCHED, BatchDim
from captum_xdnn.proof.domain import FIXED
from captum_xdnn.proof.nodes import (
    draws,
    is_mutable,
    is_never_read,
    is_operation,
    leaves_unwritten,
)
from captum_xdnn.proof.split import Split, split
from captum_xdnn.proof.taken_apart import how
from captum_xdnn.proof.verdict import Verdict
from captum_xdnn.recording.calls_of_torch import QUANTILES, RECURRENT
from captum_xdnn.recording.cost import MOVED, Cost, cost_of
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.operations import operation_of
from captum_xdnn.recording.run import overwritten, shown_again
from captum_xdnn.recording.steps import sized_in
from captum_xdnn.routes.request import Request

COARSEST = 2.0**-20
"""Functions that round more coarsely than this, which float32 does not, are not hoisted."""
CACHE = 2**21
"""Bytes of the tensors at the cut that go through the head together on a CPU; see Architecture."""
STEP, ROW, PAIR, HOISTED, SUM = 3e6, 3.6e5, 120.0, 5.9e7, 6e7
"""Rates, as in ``recording/cost.py``: of what Captum does for each step, for each row, and, as it takes its outputs apart
one by one, for each pair of rows; of a hoisted call, and of one by this package's way to compute Captum's sum, beside their
operations."""
WORTH_IT = 1.25
"""The speed-up that has to be predicted: so much is the error of the prediction."""


@dataclass(eq=False)
class Plan:
    """A way to integrate a function whose head alone is run for each step."""

    split: Split  # the two parts of the run
    inputs: tuple[Node, ...]
    size: int  # the batch size
    rows: Mapping[Node, Any]  # where the batch is in each tensor, as far as that is proved
    _costs: tuple[Cost, Cost] | None = field(default=None, repr=False)

    def costs(self) -> tuple[Cost, Cost]:
        """What a forward pass of trunk and head costs."""
        if self._costs is None:
            moving = set(self.inputs)
            for node in (*self.split.trunk, *self.split.head):
                if not moving.isdisjoint(node.all_input_nodes):
                    moving.add(node)
            parts = (self.split.trunk, self.split.head)
            self._costs = (cost_of(parts[0], moving), cost_of(parts[1], moving))
        return self._costs

    @functools.cached_property
    def stacks(self) -> bool:
        """Whether several steps go through the head as rows of one batch, without ``torch.vmap``.

        Then every tensor of the head has the batch in its first dimension, or is what all rows share, and
        no operation is told how long the batch is.
        """
        taken = {n for node in self.split.head for n in node.all_input_nodes}
        return all(map(self._is_stacked, taken | set(self.split.head))) and all(
            map(_names_no_size, self.split.head)
        )

    def _is_stacked(self, node: Node) -> bool:
        state = self.rows.get(node)
        states = state if isinstance(state, tuple) else (state,)
        return all(s in (BatchDim(0), UNBATCHED) for s in states)

    @property
    def keep(self) -> frozenset[int]:
        """Numbers of the values at the cut that the run has to keep; what is fixed is made again."""
        parts = self.split
        computed = (n for n in parts.frontier if n.op == "call_function")
        return frozenset(n.number for n in computed if n not in parts.fixed)

    def trunk_share(self) -> float:
        """Share of the floating-point operations that are in the trunk."""
        trunk, head = self.costs()
        return trunk.flops / max(trunk.flops + head.flops, 1)

    def speed_up(self, steps: int) -> float:
        """How many times faster than Captum hoisting is expected to be, on one thread of a CPU."""
        rows = self.size * steps
        # Captum takes the outputs apart row by row.
        return self._ratio(steps, STEP * steps * len(self.inputs) + rows * (ROW + PAIR * rows))

    def gain(self, steps: int) -> float:
        """How many times faster than this package's own way to compute Captum's sum."""
        return self._ratio(steps, SUM)

    def _ratio(self, steps: int, beside: float) -> float:
        trunk, head = self.costs()
        entries = sum(prod(node.value.shape[1:]) for node in self.inputs)
        # Either way scales the inputs, and weighs their gradients.
        captum = (trunk + head).work(steps) + self.size * steps * 4 * MOVED * entries + beside
        passes = self.passes(steps, cached=True)
        hoisted = trunk.work() + head.work(steps, passes) + head.work() + HOISTED
        return float(captum / hoisted)

    def pays(self, steps: int) -> bool:
        """Whether hoisting is worth trying, with room for the error of the prediction."""
        return self.gain(steps) >= WORTH_IT

    def passes(self, steps: int, *, cached: bool) -> int:
        """Into how many passes through the head the steps are divided.

        So many that the memory stays below Captum's, which holds its inputs at all steps, and
        gradients of them; the tensors at the cut are often larger. On a CPU also so many that
        those of one pass fit its cache: the head of a perceptron reads each of them several times.
        """
        pairs = zip(self.split.frontier, self.split.motions, strict=True)
        cut = _bytes([node for node, motion in pairs if motion != FIXED])
        fewest = 1 if cut <= _bytes(self.inputs) else 2
        fitting = -(-cut * steps // CACHE) if cached else 1
        return max(1, min(steps, max(fewest, fitting)))


def _bytes(nodes: Sequence[Node]) -> int:
    return sum(form.element_size() * prod(form.shape) for n in nodes for form in sized_in(n.value))


def plan_of(verdict: Verdict) -> Plan | None:
    """How to hoist a run, which is found once; None if it cannot be hoisted, or need not."""
    if "plan" not in verdict.kept:
        verdict.kept["plan"] = _made(verdict)
    plan: Plan | None = verdict.kept["plan"]
    return plan


def _made(verdict: Verdict) -> Plan | None:
    graph, propagation = verdict.graph, verdict.propagation
    # Not needed, no function, or a run that writes into what it is given.
    if verdict.homogeneous or graph.output is None or verdict.form[2]:
        return None
    if graph.coarsest > COARSEST or propagation.everywhere:
        return None
    parts = split(graph, graph.output, propagation)
    if parts is None or not all(map(_is_repeatable, parts.head)):
        return None
    if any(_is_sized_by(node, parts.head) for node in parts.head):
        return None
    return Plan(parts, graph.inputs, graph.size, verdict.rows)


def worthwhile(verdict: Verdict, steps: int) -> Plan | None:
    """The plan, if hoisting is possible for all examples together and promises to pay."""
    plan = plan_of(verdict)
    if plan is None or (plan.size > 1 and not verdict.keeps_rows_apart):
        return None
    return plan if plan.pays(steps) else None


SIZES = frozenset(("size", "N", "shape", "sizes", "repeats"))
"""Arguments that name lengths, that of the batch among them."""
RESHAPING = ("aten::view", "aten::_unsafe_view", "aten::_reshape_alias")


def _names_no_size(node: Node) -> bool:
    """Whether an operation takes no length of the batch, but for a reshape that keeps it first."""
    if not is_operation(node.target):
        return node.target is operator.getitem
    schema = operation_of(node.target).overload._schema
    return schema.name in RESHAPING or SIZES.isdisjoint(a.name for a in schema.arguments)


def _is_repeatable(node: Node) -> bool:
    """Whether an operation gives the same again, for several steps at once."""
    target: Any = node.target
    if node.flaw:
        return False
    if not is_operation(target):
        return target in (overwritten, shown_again) or not isinstance(node.value, tuple)
    if draws(node) or is_mutable(target) or leaves_unwritten(node) or _is_another(target):
        return False
    if registry.name_of(target) in registry.VOLATILE and not is_never_read(node):
        return False
    known = is_batched(target) or _is_attention(target) or how(target) is not None
    return node.value is not None and known


def _is_sized_by(node: Node, head: Collection[Node]) -> bool:
    """Whether values of the head decide how many entries a result has: not the same at each step."""
    if not (is_operation(node.target) and operation_of(node.target).sized_by_values):
        return False
    first, *indices = node.all_input_nodes
    masks = [n for n in indices if n.value.dtype in (torch.bool, torch.uint8)]
    return any(n in head for n in (masks if indices else [first]))


@functools.cache  # torch takes as long to say it as for a small operation
def is_batched(target: OpOverload) -> bool:
    """Whether ``torch.vmap`` runs an operation for all steps at once, rather than one by one."""
    keys = ("FuncTorchBatched", "FuncTorchBatchedDecomposition", "CompositeImplicitAutograd")
    name = target.name()  # type: ignore[no-untyped-call]
    return any(has_kernel(name, key) for key in keys)


def _is_another(target: OpOverload) -> bool:
    """Whether vmap runs it otherwise: recurrent layers one step of the integral after the other, quantiles by a sort."""
    name = target._schema.name.rpartition("::")[2]
    return name in (*RECURRENT, *QUANTILES) or "rnn" in name


def _is_attention(target: OpOverload) -> bool:
    return "scaled_dot_product" in target._schema.name


CERTAIN = 4.0
"""A predicted speed-up that needs no measurement of Captum's own time."""


def is_certain(predicted: float, device: torch.device) -> bool:
    """Whether a predicted speed-up is believed without timing Captum's way: its rates are a CPU's."""
    return (predicted if device.type == "cpu" else 0.0) >= CERTAIN


def now(device: torch.device) -> float:
    """Seconds of a clock, read when a GPU has done what this thread asked for: a call comes back before that.

    Other streams are not waited for, as comparisons of methods do (``compare/measuring.py``).
    """
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
    return time.perf_counter()


class Choice:
    """What calls of one form took by each way: seconds, the least of each."""

    def __init__(self) -> None:
        self.rehearsed = False
        self._hoisted = self._captum = math.inf
        self._times = 0
        self.most = sys.maxsize  # steps that went through the head together where more did not fit

    def hoist(self, *, certain: bool) -> bool:
        """Whether to hoist this call.

        Always where the gain is certain. Elsewhere the first call is, and the second, which does no more than
        later ones do; in the third the way of Captum's sum is timed, and from the fourth on the faster one is taken.
        """
        if certain or self._times < 2:
            return True
        if self._captum == math.inf:
            return False
        return self._hoisted < self._captum

    @property
    def is_slower(self) -> bool:
        """Whether both ways were timed, and hoisting took longer."""
        return self._captum <= self._hoisted < math.inf

    def note_hoisted(self, seconds: float) -> None:
        """Note what a hoisted call took."""
        self._times += 1
        self._hoisted = min(self._hoisted, seconds)

    def note_captum(self, seconds: float) -> None:
        """Note what a call by Captum's own code took."""
        self._captum = min(self._captum, seconds)


def choice_of(verdict: Verdict, request: Request) -> Choice:
    """What is known of calls of this structure, rule and number of steps."""
    rule = request.quadrature
    key: Any = (
        *(rule.n_steps, rule.method, rule.internal_batch_size),
        *(request.create_graph, request.tolerance),
    )
    choices: dict[Any, Choice] = verdict.kept.setdefault("choices", {})
    if len(choices) > 64:
        choices.clear()
    return choices.setdefault(key, Choice())
