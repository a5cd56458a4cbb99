"""What a program computes: from the tensors of a call to outputs, attributions and completeness gaps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from captum_xdnn.attr.layer_functions import FromLayers, ToLayer
from captum_xdnn.errors import TraceError
from captum_xdnn.export.attribution import (
    Points,
    Problem,
    hoisted,
    row_dims,
    single_pass,
    summed,
)
from captum_xdnn.export.recorded import Recorded, recorded
from captum_xdnn.export.runs import SIZES, at_size, raises, runs_of
from captum_xdnn.export.targets import Target
from captum_xdnn.export.tracing import ROWS, exported
from captum_xdnn.proof.domain import Power
from captum_xdnn.proof.verdict import Verdict
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.places import Names
from captum_xdnn.routes.plan import Plan, plan_of, worthwhile
from captum_xdnn.routes.request import Call, Quadrature, Route

PLACES, WEIGHTS, AT_BASELINE = "places", "weights_of_places", "outputs_at_baseline"
CLOSE = 1e-3
"""Relative difference, as norms, up to which outputs are the same but for rounding."""
OTHERWISE = (
    "cannot export the attribution: with a batch of one row the function does something else than with "
    "several\n    remedy: export it with dynamic_batch=False, for the batch size of the example alone"
)
SHARE = 0.5
"""The share of the operations from which on the trunk of a graph is hoisted, whatever its size."""
ONE_TENSOR = (
    "the layer gives {}, and a program attributes to one tensor: choose a layer inside of it"
)


@dataclass(frozen=True)
class _Named:
    """A recorded function, with the names of the tensors that it takes beside inputs and arguments."""

    function: Recorded
    names: Mapping[Node, str]

    def problem(
        self, weights: Mapping[str, Tensor], arguments: Sequence[Any], starts: Sequence[Any]
    ) -> Problem:
        """The function with its tensors."""
        of_nodes = {node: weights[name] for node, name in self.names.items()}
        return Problem(self.function, of_nodes, dict(enumerate(arguments)), starts)


class Making:
    """The attribution of one function.

    Attributes:
        route: The way by which it is computed, as the package's proof chooses it.
        weights: All tensors that are part of the program, by name.
        results: The names of what the program gives.
        places: Where the first operation of each name stands in the user's network.
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        call: Call,
        target: Target,
        layer: nn.Module | None,
        n_steps: int,
        *,
        dynamic_batch: bool,
    ) -> None:
        self._call, self._target, self._dynamic = call, target, dynamic_batch
        self._layer: _Named | None = None
        self._known: dict[int, str] = {}
        self.weights: dict[str, Tensor] = {}
        self.places: dict[str, str] = {}
        for index, start in enumerate(call.baselines):
            if isinstance(start, Tensor):
                self.weights[f"baseline_{index}"] = start.detach()
        function, of_function = forward_func, call
        if layer is not None:
            to_layer = ToLayer(forward_func, (layer,), False)
            self._layer = self._recorded(to_layer, call)
            function = FromLayers(forward_func, (layer,), False, (0, 1))
            of_function = self._from_layer(to_layer)
        self._function = self._recorded(function, of_function)
        verdict, self._plan = self.verdict, None
        self.route: Route = "single_pass" if verdict.homogeneous else "captum"
        if not verdict.homogeneous:
            self._plan = self._hoisting(n_steps)
            self.route = "captum" if self._plan is None else "hoisted"
            pairs = Quadrature(n_steps, "gausslegendre").applied()
            dtype = of_function.inputs[0].dtype
            columns = [torch.tensor(part, dtype=dtype) for part in zip(*pairs, strict=True)]
            device = of_function.inputs[0].device
            self.weights |= {WEIGHTS: columns[0].to(device), PLACES: columns[1].to(device)}
        several = len(of_function.inputs) > 1
        given = [f"attributions_{i}" for i in range(len(of_function.inputs))]
        names = given if several else ["attributions"]
        self.results = ("outputs", *names, "completeness_gap")
        self._keep_outputs_at_baseline()

    @property
    def verdict(self) -> Verdict:
        """What is proved of the function that is integrated."""
        return self._function.function.verdict

    def program(self, given: Tensor | None) -> tuple[ExportedProgram, tuple[str, ...]]:
        """The graph, and the names of the tensors that it takes."""
        example = at_size(self._call, ROWS) if self._dynamic else self._call
        tensors = [*example.inputs, *(a for a in example.arguments if isinstance(a, Tensor))]
        rows, size = self._call.size, example.size
        whole = [*self._call.inputs, *(a for a in self._call.arguments if isinstance(a, Tensor))]
        batched = [self._dynamic and t.dim() > 0 and len(t) == rows for t in whole]
        if given is not None:
            tensors.append(torch.zeros(size, dtype=torch.int64, device=tensors[0].device))
            batched.append(self._dynamic)
        made = exported(self.results_of, self.weights, tensors, batched, self.places)
        return made, self.names(given)

    def names(self, given: Tensor | None) -> tuple[str, ...]:
        """The names of the tensors of a call."""
        several = len(self._call.inputs) > 1
        names = [f"inputs_{i}" if several else "inputs" for i in range(len(self._call.inputs))]
        kinds = enumerate(self._call.arguments)
        names += [f"argument_{i}" for i, a in kinds if isinstance(a, Tensor)]
        return (*names, "target") if given is not None else tuple(names)

    def example(self, given: Tensor | None) -> list[Tensor]:
        """The tensors of the call that the program was made of."""
        tensors = [*self._call.inputs, *(a for a in self._call.arguments if isinstance(a, Tensor))]
        return tensors if given is None else [*tensors, given.to(tensors[0].device)]

    def results_of(
        self, weights: Mapping[str, Tensor], tensors: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Outputs, attributions and completeness gaps: what is traced."""
        problem, inputs, target = self._problem(weights, tensors)
        if self.route == "single_pass":
            degree = float(self.verdict.degree or 1)
            output, gradients = single_pass(problem, inputs, target, degree)
        else:
            points = Points(weights[PLACES], weights[WEIGHTS])
            if self._plan is not None:
                output, gradients = hoisted(problem, inputs, target, points, self._plan)
            else:
                output, gradients = summed(problem, inputs, target, points)
        triples = zip(gradients, inputs, problem.starts, strict=True)
        attributions = tuple((g * (x - b)).contiguous() for g, x, b in triples)
        total = sum(a.reshape(a.shape[0], -1).sum(1) for a in attributions)
        with torch.no_grad():
            index = target.index(output)
            difference = target.chosen(output, index)
            if not self._vanishes:
                start = weights.get(AT_BASELINE)
                start = problem.output_at_baseline(inputs) if start is None else start
                start = start.expand(output.shape)
                difference = difference - target.chosen(start, index)
        return (output, *attributions, total - difference)

    def _problem(
        self, weights: Mapping[str, Tensor], tensors: Sequence[Tensor]
    ) -> tuple[Problem, Sequence[Tensor], Target]:
        """The function to integrate with the inputs to integrate it by."""
        count = len(self._call.inputs)
        inputs, rest = list(tensors[:count]), list(tensors[count:])
        arguments = [rest.pop(0) if isinstance(a, Tensor) else a for a in self._call.arguments]
        target = self._target.with_(rest[0]) if rest else self._target
        starts = [weights.get(f"baseline_{i}", b) for i, b in enumerate(self._call.baselines)]
        if self._layer is None:
            return self._function.problem(weights, arguments, starts), inputs, target
        to_layer = self._layer.problem(weights, arguments, starts)
        with torch.no_grad():
            values = to_layer.output(inputs, inputs[0].shape[0])
            start = to_layer.output_at_baseline(inputs)
        return self._function.problem(weights, [*inputs, *arguments], [start]), [values], target

    @property
    def _vanishes(self) -> bool:
        """Whether the function is proved to be zero at the baseline."""
        return self.verdict.homogeneous and isinstance(self.verdict.motion, Power)

    def _keep_outputs_at_baseline(self) -> None:
        """What the function returns at the baseline, where that is the same for all rows and calls."""
        with torch.no_grad():
            problem, inputs, _ = self._problem(self.weights, self.example(None))
            alone = problem.is_alone and (self._layer is None or not self._layer.function.arguments)
            if alone and not self._vanishes:
                self.weights[AT_BASELINE] = problem.output_at_baseline(inputs)

    def _hoisting(self, n_steps: int) -> Plan | None:
        """How the run is hoisted, if that is proved to be right and promises to pay."""
        plan = plan_of(self.verdict)
        if plan is None or not self.verdict.keeps_rows_apart or row_dims(plan) is None:
            return None
        # A graph has not the cost of a hoisted call beside its operations.
        pays = plan.trunk_share() >= SHARE or worthwhile(self.verdict, n_steps) is not None
        return plan if pays else None

    def _recorded(self, function: Callable[..., Any], call: Call) -> _Named:
        """The operations of a function, with names of the tensors that they take."""
        sizes = SIZES if self._dynamic else (call.size,)
        runs = runs_of(function, call, sizes)
        try:
            found = recorded(runs)
        except (
            TraceError
        ):  # what the function keeps of its first run of a form is there in the second
            runs = runs_of(function, call, sizes)
            found = recorded(runs)
        for node in found.nodes:
            name = str(node.target).partition(".")[2].partition(".")[0].strip("_")
            if name not in self.places:
                self.places[name] = runs[0].where(node)
        known, names = Names(function).tensors(function), {}
        for node, tensor in found.sources.items():
            if id(tensor) not in self._known:
                name = known.get(id(tensor)) or f"constant_{len(self._known)}"
                name = name if name not in self.weights else f"{name}_{len(self._known)}"
                self._known[id(tensor)], self.weights[name] = name, tensor
            names[node] = self._known[id(tensor)]
        named = _Named(found, names)
        if self._dynamic:
            self._try_one_row(named, function, at_size(call, 1))
        return named

    def _try_one_row(self, named: _Named, function: Callable[..., Any], one: Call) -> None:
        """Look whether the operations give for a single row what the function gives."""
        with torch.no_grad():
            try:
                real = function(*one.inputs, *one.arguments)
            except Exception as error:
                raise raises(1, error) from error
            problem = named.problem(self.weights, one.arguments, one.baselines)
            try:
                mine = problem.output(one.inputs, 1)
            except RuntimeError:
                mine = real.new_zeros(())
        alike = mine.shape == real.shape and real.shape[:1] == (1,)
        gap = torch.linalg.vector_norm(mine - real) if alike else float("inf")
        if not float(gap) <= CLOSE * float(torch.linalg.vector_norm(real)):
            raise TraceError(OTHERWISE)

    def _from_layer(self, to_layer: ToLayer) -> Call:
        """The call of the function of the layer's values."""
        call = self._call
        with torch.no_grad():
            values = to_layer.values(*call.inputs, *call.arguments)
            starts = to_layer.values(*call.starts(), *call.arguments)
        if len(values) != 1 or not values[0].is_floating_point():
            raise TraceError(ONE_TENSOR.format(f"{len(values)} tensors of {values[0].dtype}"))
        start = starts[0][:1] if self._dynamic else starts[0]
        return Call((values[0],), (start,), None, (*call.inputs, *call.arguments))
