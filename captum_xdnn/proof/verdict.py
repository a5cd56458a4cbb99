"""The verdict on a run: whether one pass is exact, with all that it hangs on."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from captum_xdnn.proof.baseline_values import BaselineValues, Question, Unavailable
from captum_xdnn.proof.batch_dim import UNBATCHED, BatchDim
from captum_xdnn.proof.cut import CUT, LET_THROUGH, cut_off
from captum_xdnn.proof.domain import FIXED, Affine, Motion, Power
from captum_xdnn.proof.nodes import hands_out
from captum_xdnn.proof.piecewise_linear import is_piecewise_linear
from captum_xdnn.proof.propagation import Obstacle, Propagation, propagate
from captum_xdnn.proof.rows import rows_of
from captum_xdnn.proof.split import ancestors
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.run import Graph
from captum_xdnn.recording.tensors import is_hollow

Baseline = Tensor | float | int
"""One input's baseline; the number 0 wherever it is zero by value."""


@dataclass(frozen=True)
class Given:
    """What a verdict on a run is asked for.

    ``values`` are the tensors that the run took and did not compute, by number. Of them the run wrote
    into ``written`` (inputs included), ``batched`` hold one row for each example, and ``arguments`` are
    those of the call.
    """

    baselines: tuple[Baseline, ...]
    values: Mapping[int, Tensor]
    written: frozenset[int]
    batched: frozenset[int]
    arguments: frozenset[int]

    @property
    def form(self) -> Any:
        """What of it a verdict is made for, beside values."""
        return (tuple(map(is_zero_number, self.baselines)), self.batched, self.written)


@dataclass(frozen=True, eq=False)
class Verdict:
    """What is proved of a run, and so of all of its structure; it holds no tensor.

    ``homogeneous`` says whether a single pass is exact, ``motion`` how the output moves. ``answers``
    are those to its questions about values, and ``kept`` is what others found out about such runs, each
    under keys of its own.
    """

    homogeneous: bool
    motion: Motion
    graph: Graph
    propagation: Propagation
    obstacles: tuple[Obstacle, ...]
    answers: tuple[tuple[Question, bool], ...]
    form: Any
    kept: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def degree(self) -> Fraction | None:
        """The degree; 1 for an affine output, None where a single pass is not exact."""
        if not self.homogeneous:
            return None
        return self.motion.degree if isinstance(self.motion, Power) else Fraction(1)

    @property
    def affine(self) -> bool:
        """Whether a constant stands beside a part of degree 1."""
        return self.homogeneous and isinstance(self.motion, Affine)

    @functools.cached_property
    def is_piecewise_linear(self) -> bool:
        """Whether the run's second derivative by its inputs is zero wherever it exists."""
        return is_piecewise_linear(self.graph)

    @property
    def keeps_rows_apart(self) -> bool:
        """Whether row ``i`` of the output depends on row ``i`` of what has rows, and on no other."""
        output = self.graph.output
        return output is not None and self.rows.get(output) == BatchDim(0)

    @functools.cached_property
    def rows(self) -> Mapping[Node, Any]:
        """Where the rows of the batch are in what the output is computed from."""
        output, size = self.graph.output, self.graph.size
        if output is None or self.propagation.everywhere:
            return {}
        known: dict[Node, Any] = dict.fromkeys(self.graph.sources.values(), UNBATCHED)
        known.update(dict.fromkeys(self.graph.inputs, BatchDim(0)))
        known.update({self.graph.sources[n]: BatchDim(0) for n in self.form[1]})
        needed = ancestors(output)
        nodes = [n for n in self.graph.nodes if n in needed]
        if any(n.op == "placeholder" and n not in known for n in nodes):
            return {}
        return rows_of(nodes, known, size)

    @functools.cached_property
    def cut(self) -> Verdict | None:
        """The verdict where nothing but torch derives the run; None if its gradient is whole then.

        A custom Function may give back what the operations in it have cut off.
        """
        output, motions = self.graph.output, self.propagation.motions
        if not self.homogeneous or output is None:
            return None
        needed = ancestors(output)
        order = [n for n in self.graph.nodes if n in needed]
        found = cut_off(order, self.graph.inputs, motions)
        obstacles = tuple(Obstacle(node, CUT, LET_THROUGH) for node in found)
        return replace(self, homogeneous=False, obstacles=obstacles, kept={}) if found else None

    @functools.cached_property
    def relied(self) -> tuple[Node, ...]:
        """The sources whose values were found to be zero, or to leave no shift."""
        found: dict[Node, None] = {}
        for question, answer in self.answers:
            if answer:
                sources = ancestors(*question.nodes) - set(self.graph.inputs)
                found.update(dict.fromkeys(n for n in sources if n.op == "placeholder"))
        return tuple(sorted(found, key=lambda node: node.number))

    @functools.cached_property
    def needed(self) -> frozenset[int]:
        """Numbers of the sources that the output is computed from, or that Python reads something of."""
        graph = self.graph
        read = [n for n in graph.nodes if n.op == "call_function" and hands_out(n)]
        read += [node for event in graph.events for node in event.nodes]
        read += [] if graph.output is None else [graph.output]
        return frozenset(n.number for n in ancestors(*read) if n.op == "placeholder")

    @functools.cached_property
    def moving(self) -> frozenset[int]:
        """Numbers of the values that depend on the inputs, or may."""
        motions, assumed = self.propagation.motions, self.propagation.assumed
        reached = set(self.graph.inputs)
        for node in self.graph.nodes:
            if node.flaw or not reached.isdisjoint(node.all_input_nodes):
                reached.add(node)
        return frozenset(
            n.number
            for n in reached
            if n.number >= 0 and (motions.get(n) != FIXED or assumed.get(n, 0))
        )

    def takes_alone(self, first: int) -> bool:
        """Whether nothing but a sum with each input from ``first`` on takes what it is added to.

        Captum differentiates by a layer's tensor itself, wherever it goes; something added to it is
        seen by the layer's own path alone. They differ where a connection skips the layer, or one
        tensor is returned twice.
        """
        for node in self.graph.inputs[first:]:
            users = _visible(node)
            if len(users) != 1 or str(users[0].target) != "aten.add.Tensor":
                return False
            value = users[0].args[0]
            if type(value) is not Node or _visible(value) != users:
                return False
        return True

    def holds(self, given: Given) -> bool:
        """Whether the verdict is that of another run of this structure: whether values decide alike."""
        if given.form != self.form:
            return False
        if not self.answers:
            return True
        try:
            found = self.baseline_values(given).answer([question for question, _ in self.answers])
        except Unavailable:
            return False
        return found == [answer for _, answer in self.answers]

    def baseline_values(self, given: Given, *, graph: bool = False) -> BaselineValues:
        """Values at the baseline in a run of this structure."""
        promoted = self.propagation.promoted  # whether they are zero is the question
        motions = {n: m for n, m in self.propagation.motions.items() if n not in promoted}
        return BaselineValues(
            _values(self.graph, given, graph_of_values=graph), motions, graph=graph
        )

    def value_at_baseline(self, given: Given) -> Any:
        """The function's output at the baseline; only what is affine is computed.

        Raises:
            Unavailable: If it cannot be computed.
        """
        if self.graph.output is None:
            raise Unavailable("the function returns no tensor")
        return self.baseline_values(given).value(self.graph.output)


def prove(graph: Graph, given: Given) -> Verdict:
    """Prove what can be proved of a run."""
    baseline_values = BaselineValues(_values(graph, given), {})
    motions: dict[Node, Motion] = {}
    shifts: dict[Node, str] = {}
    for index, (node, baseline) in enumerate(zip(graph.inputs, given.baselines, strict=True)):
        motions[node] = Power(1) if is_zero_number(baseline) else Affine()
        shifts[node] = f"the baseline of input {index} is not zero"
    propagation = propagate(graph, baseline_values, motions, shifts)
    motion: Any = None if graph.output is None else propagation.motions[graph.output]
    obstacles = _writers(graph, given)
    if graph.output is not None:
        obstacles += propagation.blocking(graph.output)
    if not obstacles:
        positive = isinstance(motion, Power) and motion.degree > 0
        if not positive and not isinstance(motion, Affine):
            obstacles.append(_still(graph, motion))
    return Verdict(
        homogeneous=not obstacles,
        motion=motion if isinstance(motion, Motion) else FIXED,
        graph=graph,
        propagation=propagation,
        obstacles=tuple(obstacles),
        answers=tuple(baseline_values.answers.items()),
        form=given.form,
    )


def is_zero_number(baseline: Baseline) -> bool:
    """Whether a baseline was found to be zero, in the form that ``prove`` takes."""
    return not isinstance(baseline, Tensor) and baseline == 0


def _visible(node: Node) -> list[Node]:
    """The operations that take a tensor, apart from autograd's own notes of it."""
    return [n for n in node.users if n.users or str(n.target) != "aten.detach.default"]


def _values(graph: Graph, given: Given, *, graph_of_values: bool = False) -> dict[Node, Any]:
    """The values at the baseline of what a run does not compute."""
    values: dict[Node, Any] = {
        node: given.values[number] if graph_of_values else given.values[number].detach()
        for number, node in graph.sources.items()
        if number not in given.written and not node.flaw and not is_hollow(given.values[number])
    }
    for node, baseline in zip(graph.inputs, given.baselines, strict=True):
        if not is_zero_number(baseline):
            value = torch.as_tensor(baseline, dtype=node.value.dtype, device=node.value.device)
            values[node] = value.detach().expand(node.value.shape).contiguous()
    return values


def _still(graph: Graph, motion: Any) -> Obstacle:
    if motion == FIXED:
        reason = "the output does not depend on the input"
    elif isinstance(motion, Power):
        reason = f"the output is {motion} along the ray: the integral of its gradient diverges"
        if motion.degree == 0:
            reason = "the output does not change along the ray from the baseline"
    else:
        reason = "the function returns something other than one tensor"
    node = graph.output or Node("return", "return", step=len(graph.nodes))
    return Obstacle(node, reason, "explain a quantity that grows with it")


def _writers(graph: Graph, given: Given) -> list[Obstacle]:
    """What the run wrote into and its output depends on: then it depends on earlier calls."""
    if graph.output is None or not given.written:
        return []
    needed = ancestors(graph.output)
    found = []
    for number in sorted(given.written):
        node = graph.inputs[number] if number < len(graph.inputs) else graph.sources[number]
        if node not in needed:
            continue
        if node in graph.inputs:
            reason, remedy = "it changes its input in place", "work on a copy of the input"
        elif number in given.arguments:
            reason, remedy = "it changes an argument in place", "work on a copy of the argument"
        else:
            reason, remedy = WRITES.format(node.name), "call model.eval()"
        place = next((n for n in node.users if n in needed), node)
        found.append(Obstacle(place, reason, remedy, source=node))
    return found


WRITES = "it writes to {} at every call"


def values_of(sources: Sequence[Node], values: Mapping[int, Tensor]) -> list[Tensor]:
    """The tensors that some sources were in a run."""
    return [values[node.number] for node in sources]
