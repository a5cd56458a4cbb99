"""A function as the engine watches it: one run on real tensors, its graph, and what is proved of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from captum_xdnn.proof.verdict import Given, Verdict, prove
from captum_xdnn.proof.watching import Watched, known_baseline, watch
from captum_xdnn.recording.calls_of_torch import Calls
from captum_xdnn.recording.following import operations
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.run import Graph, graph_of
from captum_xdnn.recording.state import put_back_tensors
from captum_xdnn.recording.steps import Step
from captum_xdnn.recording.watch import Tape


def leaf_of(tensor: Tensor) -> Tensor:
    """A copy that gradients are taken of, where that can be done, in the layout of the original."""
    copy = tensor.detach().clone()
    return copy.requires_grad_() if copy.is_floating_point() or copy.is_complex() else copy


def record(
    function: Callable[..., Any],
    inputs: Sequence[Tensor],
    baselines: Sequence[Any] | None = None,
    arguments: Sequence[Any] = (),
    *,
    keep: frozenset[int] = frozenset(),
) -> Watched:
    """Watch one run of a function at copies of its inputs.

    Args:
        function: The function.
        inputs: The tensors that move.
        baselines: Their baselines; zero by default.
        arguments: Its other arguments.
        keep: Numbers of the values to hold on to.
    """
    starts = (0,) * len(inputs) if baselines is None else baselines
    watched = watch(
        function,
        tuple(map(leaf_of, inputs)),
        tuple(map(known_baseline, starts)),
        tuple(arguments),
        keep=keep,
    )
    watched.put_back()
    return watched


@dataclass(frozen=True)
class Several:
    """A run of a function of several results.

    Attributes:
        graph: The run.
        outputs: The nodes of its results.
        tape: What was noted of it.
    """

    graph: Graph
    outputs: tuple[Node, ...]
    tape: Tape

    def proved(self, baselines: Sequence[Any]) -> Verdict:
        """What is proved from these baselines; of the results, by the motions of ``outputs``."""
        tape = self.tape
        nothing: frozenset[int] = frozenset()
        written = frozenset(tape.written)
        return prove(self.graph, Given(tuple(baselines), tape.sources, written, nothing, nothing))


def record_all(
    function: Callable[..., Any], inputs: Sequence[Tensor], fixed: Sequence[Tensor]
) -> Several:
    """Watch a function that returns a list of tensors.

    Args:
        function: The function.
        inputs: The tensors that move.
        fixed: The tensors that do not.
    """
    leaves = tuple(map(leaf_of, inputs))
    tape = Tape(Step(None, None), leaves, placed=False)
    try:
        with torch.enable_grad(), Calls(tape), operations(tape):
            results = function(*leaves, *fixed)
    finally:
        put_back_tensors(tape.saved)
    tape.note_event("results", results)
    graph = graph_of(leaves, tape.path)
    outputs = graph.events[-1].nodes
    # Something takes the results: what nothing takes is not looked at.
    Node("taken", "taken", tuple(outputs))
    return Several(replace(graph, events=graph.events[:-1]), outputs, tape)
