"""Watched runs of a function at several batch sizes and places of the ray, and what refuses them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_xdnn.checks.gradient_law import custom_functions_of
from captum_xdnn.errors import TraceError, first_line
from captum_xdnn.proof.nodes import (
    decides_size,
    draws,
    is_never_read,
    is_operation,
    leaves_unwritten,
)
from captum_xdnn.proof.remedies import of_returned
from captum_xdnn.proof.split import ancestors
from captum_xdnn.proof.verdict import Given, Verdict
from captum_xdnn.proof.watching import known_baseline, watch
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.operations import operation_of
from captum_xdnn.recording.places import Names
from captum_xdnn.recording.run import Graph, written_beside
from captum_xdnn.recording.watch import Tape
from captum_xdnn.routes.hoisted import OWN_CODE
from captum_xdnn.routes.request import Call

SIZES = (2, 3, 5)
"""Batch sizes at which a function is watched that is exported for any: two give each length, one tries it.

One row is not among them: torch leaves out copies there, and the operations are others.
"""
PLACES = (0.95, 0.6, 0.8)
"""Places of the ray at which the rows of such a run stand, in turn: what values decide differs there."""


ONE_SIZE = (
    "let it do the same for every batch, or export it with dynamic_batch=False, for one batch size"
)


@dataclass(frozen=True)
class Run:
    """One watched run of a function that is to be exported."""

    function: Callable[..., Any]
    size: int
    tape: Tape
    verdict: Verdict
    given: Given
    call: Call

    @property
    def graph(self) -> Graph:
        """The recorded operations."""
        return self.verdict.graph

    def arguments(self) -> dict[int, Node]:
        """The nodes of the further arguments that are tensors, by position."""
        numbers = {id(t): number for number, t in self.tape.sources.items()}
        places = {i: numbers.get(id(a)) for i, a in enumerate(self.call.arguments)}
        return {i: self.graph.sources[n] for i, n in places.items() if n is not None}

    def where(self, node: Node) -> str:
        """The operation, the module that it runs in, and the user's line."""
        at = node.step
        if not 0 <= at < len(list(self.tape.places)):
            return str(node.target or node.name)
        place = list(self.tape.places)[at]
        module, kind = Names(self.function).of(place)
        inside = f" in {module or 'the model'} ({kind})" if kind else ""
        line = "" if place is None else place.location()
        return f"{node.target}{inside}" + (f", at {line}" if line else "")

    def refused(self, node: Node, reason: str, remedy: str) -> TraceError:
        """The error for something that a graph of the run would not show."""
        return TraceError(
            f"cannot export the attribution: {self.where(node)}: {reason}\n    remedy: {remedy}"
        )

    def check(self) -> None:
        """Look whether repeating the operations is repeating the function.

        Raises:
            TraceError: If not.
        """
        graph, needed = self.graph, set(needed_of(self.graph))
        given = [*graph.inputs, *self.arguments().values()]
        reached = set(given)
        for node in graph.nodes:
            if not reached.isdisjoint(node.all_input_nodes):
                reached.add(node)
        for node in graph.nodes:
            if node in reached and _tells_of(node, reached):
                raise self.refused(
                    node,
                    "it hands Python a value or a shape that the inputs decide",
                    "compute with tensors what depends on the values (torch.where, masks)",
                )
            if node in needed:
                self._check_repeatable(node)
        for event in graph.events:
            read = [n for n in event.nodes if n in reached]
            if read:
                raise self.refused(
                    read[0],
                    f"its values leave torch ({event.kind})",
                    "compute with torch's operations alone, and decide nothing by values",
                )

    def _check_repeatable(self, node: Node) -> None:
        if node.flaw or node.target is written_beside:
            reason = node.flaw or "its memory is written in a way that cannot be repeated"
            raise self.refused(node, reason, "compute with torch's operations, not in place")
        if node.target is None:
            if node.number in self.given.written:
                raise self.refused(
                    next(iter(node.users), node),
                    "the run writes into what it is given or keeps, so it depends on earlier calls",
                    "call model.eval(), work on copies of inputs and arguments",
                )
            return
        if draws(node):
            reason, remedy = "it draws random numbers", "call model.eval(), or take it away"
            raise self.refused(node, reason, remedy)
        if is_operation(node.target) and leaves_unwritten(node) and not is_never_read(node):
            raise self.refused(node, "it returns memory that nobody has written", "fill it")


def _tells_of(node: Node, reached: set[Node]) -> bool:
    """Whether an operation shows Python a value that the inputs decide, or a shape."""
    if not is_operation(node.target):
        return node.op == "call_function" and node.value is None
    operation = operation_of(node.target)
    if operation.sized_by_values:
        return any(n in reached and decides_size(node, n) for n in node.all_input_nodes)
    silent = node.value is None and not operation.writes
    return operation.reads or silent or operation.tells


def watched(function: Callable[..., Any], call: Call) -> Run:
    """Run a function once, and look whether its operations can stand for it.

    Raises:
        TraceError: If they cannot.
    """
    with torch.enable_grad():
        leaves = call.leaves(keep_graph=False) if _is_floating(call) else call.inputs
    starts = [known_baseline(b) for b in call.baselines]
    found = watch(function, leaves, starts, call.arguments, framed=True)
    found.put_back()
    if found.error is not None or found.tape is None or found.verdict is None:
        error = found.error
        raise raises(call.size, error) from (error if isinstance(error, Exception) else None)
    if found.given is None or found.verdict.graph.output is None:
        reason, remedy = of_returned(found.output)
        raise TraceError(f"cannot export the attribution: {reason}\n    remedy: {remedy}")
    own = [*dict.fromkeys(found.tape.touches), *custom_functions_of(found.output)]
    if own:
        message = f"cannot export the attribution: {OWN_CODE}: {', '.join(own)}"
        raise TraceError(f"{message}\n    remedy: take it away, or use torch's operations alone")
    run = Run(function, call.size, found.tape, found.verdict, found.given, call)
    run.check()
    return run


def raises(rows: int, error: BaseException | None) -> TraceError:
    """The error for a function that raises one for so many rows."""
    said = first_line(error) if isinstance(error, Exception) else str(error)
    of_rows = f"{rows} rows" if rows > 1 else "one row"
    return TraceError(
        f"cannot export the attribution: for {of_rows} it raises {said}\n    remedy: {ONE_SIZE}"
    )


def needed_of(graph: Graph) -> list[Node]:
    """What the output is computed from, in the order of the run."""
    needed = set() if graph.output is None else ancestors(graph.output)
    return [node for node in graph.nodes if node in needed]


def at_size(call: Call, size: int) -> Call:
    """The same kind of call with another number of rows, at several places of the ray."""
    number = call.size
    order = torch.arange(size) % number

    def moved(x: Tensor, baseline: Any) -> Tensor:
        rows = x.detach()[order.to(x.device)]
        if not x.is_floating_point():
            return rows.clone()
        places = rows.new_tensor([PLACES[(size + i) % len(PLACES)] for i in range(size)])
        places = places.reshape([-1] + [1] * (x.dim() - 1))
        found: Tensor = baseline + places * (rows - baseline)
        return found.detach()

    def repeated(value: Any) -> Any:
        batched = isinstance(value, Tensor) and value.dim() and len(value) == number
        return value[order.to(value.device)] if batched else value

    inputs = tuple(map(moved, call.inputs, call.baselines))
    return Call(inputs, call.baselines, None, tuple(map(repeated, call.arguments)))


def runs_of(function: Callable[..., Any], call: Call, sizes: Sequence[int]) -> list[Run]:
    """A run at each of some batch sizes."""
    return [watched(function, at_size(call, size)) for size in sizes]


def _is_floating(call: Call) -> bool:
    return all(x.is_floating_point() for x in call.inputs)
