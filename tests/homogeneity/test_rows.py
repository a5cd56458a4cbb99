"""That rows stay apart, by numbers: two batches side by side give the two results side by side."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from program_verdicts import NO_GRADIENT, analysed
from programs import THEMES, program_of
from recorder import record, recording
from row_samples import FLAT, LINE, SAMPLES, Function
from rows_that_meet import WRONG
from torch import Tensor, nn
from torch.export import Dim
from torch.fx import Node
from torch.fx.node import map_arg
from torch.testing import assert_close

from captum_xdnn.attr.call import Call
from captum_xdnn.attr.hoisted import hoisted
from captum_xdnn.errors import TraceError
from captum_xdnn.homogeneity import plan as plan_module
from captum_xdnn.homogeneity.nodes import is_number
from captum_xdnn.homogeneity.plan import promises
from captum_xdnn.homogeneity.row_domain import SHARED, Rows
from captum_xdnn.homogeneity.row_rules import RULES
from captum_xdnn.homogeneity.rows import rows_of
from captum_xdnn.homogeneity.tracing import Traced, trace

pytestmark = pytest.mark.filterwarnings("ignore")

TRACED, FIRST, SECOND = 3, 5, 7
"""Batch sizes: of the trace, and of what is laid side by side."""


class Wrapped(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def data(batch: int, shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(batch)
    return torch.randn(batch, *shape, generator=generator, dtype=torch.float64)


def graph_of(function: Function, shape: tuple[int, ...]) -> tuple[Any, dict[Node, Tensor], Any]:
    """A graph before its decomposition, its constants, and the symbol of the batch."""
    program = torch.export.export(
        Wrapped(function), (data(TRACED, shape),), dynamic_shapes=({0: Dim.AUTO},), strict=False
    )
    held = {**program.state_dict, **program.constants}
    constants, batch = {}, None
    nodes = [node for node in program.graph.nodes if node.op == "placeholder"]
    for node, spec in zip(nodes, program.graph_signature.input_specs, strict=True):
        if spec.target is not None:
            constants[node] = held[spec.target]
        else:
            batch = node.meta["val"].shape[0]
    assert isinstance(batch, torch.SymInt), "the batch size is bound to that of the trace"
    return program.graph, constants, batch.node.expr


def constants_of(traced: Traced) -> dict[Node, Tensor]:
    return {node: tensor for node, (_, tensor) in traced.constants.items()}


def states_of(graph: Any, constants: dict[Node, Tensor], batch: Any) -> dict[Node, Any]:
    known = {n: SHARED if n in constants else Rows(0) for n in graph.nodes if n.op == "placeholder"}
    return rows_of([n for n in graph.nodes if n.op == "call_function"], known, batch)


def run(graph: Any, constants: dict[Node, Tensor], x: Tensor) -> dict[Node, Any]:
    """The value of every node."""
    values: dict[Node, Any] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            values[node] = constants.get(node, x)
        elif node.op == "call_function":
            args, kwargs = (map_arg(part, values.__getitem__) for part in (node.args, node.kwargs))
            values[node] = node.target(*args, **kwargs)
    return values


def side_by_side(first: Tensor, second: Tensor, place: Rows) -> Tensor:
    """Two results with the batch at a place, as one."""

    def opened(tensor: Tensor) -> Tensor:
        shape = list(tensor.shape)
        shape[place.dim : place.dim + 1] = [place.outer, shape[place.dim] // place.outer]
        return tensor.reshape(shape)

    joined = torch.cat([opened(first), opened(second)], place.dim + 1)
    return joined.flatten(place.dim, place.dim + 1)


def judge(graph: Any, constants: dict[Node, Tensor], batch: Any, shape: tuple[int, ...]) -> int:
    """Compare every tensor of which something is proved; the number of those with rows."""
    states = states_of(graph, constants, batch)
    one, other = data(FIRST, shape), data(SECOND, shape)
    tables = [run(graph, constants, x) for x in (one, other, torch.cat([one, other]))]
    count = 0
    for node, state in states.items():
        if is_number(node.meta.get("val")):
            continue
        parts = state if isinstance(state, tuple) else (state,)
        wholes = [t[node] if isinstance(state, tuple) else (t[node],) for t in tables]
        for part, first, second, both in zip(parts, *wholes, strict=True):
            if isinstance(part, Rows):
                count += node.op == "call_function"
                expected = side_by_side(first, second, part)
                assert_close(both, expected, rtol=1e-9, atol=1e-11, equal_nan=True)
            elif part == SHARED:
                assert_close(both, first, rtol=0, atol=0)
                assert_close(both, second, rtol=0, atol=0)
    return count


def samples_of(name: str) -> list[tuple[tuple[int, ...], Function]]:
    found = SAMPLES[name]
    return found if isinstance(found, list) else [found]


def names_in(graph: Any) -> set[str]:
    targets = [n.target for n in graph.nodes if isinstance(n.target, torch._ops.OpOverload)]
    return {str(target._schema.name).rsplit("::", 1)[-1] for target in targets}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_rule_keeps_rows_apart(name: str) -> None:
    for shape, function in samples_of(name):
        graph, constants, batch = graph_of(function, shape)
        if name not in ("detach", "lift_fresh_copy", "contiguous"):
            assert name in names_in(graph)
        assert judge(graph, constants, batch, shape) > 0
        last = [n for n in graph.nodes if n.op == "call_function"]
        states = states_of(graph, constants, batch)
        own = [n for n in last if name in str(n.target)] or last[-1:]
        found = [states[n] for n in own if n in states]
        assert all(s[0] if isinstance(s, tuple) else s for s in found), found


def test_every_rule_has_a_sample() -> None:
    assert sorted(RULES.keys() - SAMPLES.keys()) == []


@pytest.mark.parametrize("name", WRONG)
def test_what_brings_rows_together_is_not_proved(name: str) -> None:
    shape, function = WRONG[name]
    try:
        graph, constants, batch = graph_of(function, shape)
    except AssertionError:
        return  # the tracer bound the batch size: there are no rows to speak of
    states = states_of(graph, constants, batch)
    output = next(n for n in graph.nodes if n.op == "output").args[0][0]
    assert states[output] != Rows(0)
    judge(graph, constants, batch, shape)


@pytest.mark.parametrize("name", WRONG)
def test_the_tracer_in_use_leads_to_the_same(name: str) -> None:
    shape, function = WRONG[name]
    x = data(TRACED, shape)
    try:
        traced = trace(function, (x,))
    except TraceError:
        return
    if traced.batch is None:
        return
    states = states_of(traced.graph, constants_of(traced), traced.batch)
    assert states[traced.output] != Rows(0)


@pytest.mark.parametrize("start", range(0, len(SAMPLES), 30))
def test_rules_on_the_graphs_of_the_tracer_in_use(start: int) -> None:
    proved = 0
    for name in list(SAMPLES)[start : start + 30]:
        for shape, function in samples_of(name)[:1]:

            def single(x: Tensor, function: Function = function) -> Tensor:
                result = function(x)
                return result[0] if isinstance(result, list | tuple) else result

            traced = trace(single, (data(TRACED, shape),))
            if traced.batch is None:
                continue
            proved += judge(traced.graph, constants_of(traced), traced.batch, shape) > 0
    assert proved > 0


def test_nothing_is_proved_of_a_place_with_two_batches() -> None:
    graph, constants, batch = graph_of(lambda x: x[:, None] + x[None], FLAT)
    assert None in states_of(graph, constants, batch).values()
    graph, constants, batch = graph_of(lambda x: x.transpose(0, 1).flatten(0, 1), LINE)
    assert Rows(0, 1, 4) in states_of(graph, constants, batch).values()


@pytest.fixture(autouse=True)
def _whether_it_pays_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "WORTH_IT", 0.0)


def outcome_of_program(program: Any) -> str:
    """Hoist a random program with all steps side by side, and one by one."""
    try:
        with recording():  # much quicker, and it shows whether there is anything to hoist
            recorded = record(program, program.inputs, program.arguments)
            quick = analysed(program, recorded, program.baselines)
        if quick.propagation is None or not promises(quick.traced, quick.propagation, 50):
            return "no plan"
        traced = trace(program, program.inputs, program.arguments)
    except TraceError:
        return "not traced"
    plan = analysed(program, traced, program.baselines).plan
    if plan is None or not plan.places:
        return "no plan" if plan is None else "no places"
    call = Call(program.inputs, program.baselines, program.target, program.arguments)
    nodes = ((0.25, 0.125), (0.5, 0.5), (0.25, 0.875))
    try:
        apart = hoisted(plan, call, nodes, most=1, graph=False)
    except RuntimeError as error:
        if not any(reason in str(error) for reason in NO_GRADIENT):
            raise
        return "no gradient"
    for most in (2, 3):
        together = hoisted(plan, call, nodes, most=most, graph=False)
        for one, other in zip(together.mean_gradients, apart.mean_gradients, strict=True):
            scale = float(other.abs().nan_to_num(0, 0, 0).max())
            close = {"rtol": 1e-6, "atol": 1e-9 * max(scale, 1e-30), "equal_nan": True}
            assert_close(one, other, **close, msg=lambda text: f"{text}\n{program!r}")
    return "compared"


def sweep(theme: str, seeds: range) -> int:
    outcomes = [outcome_of_program(program_of(theme, 7919 * i + 5, 1 + i % 9)) for i in seeds]
    print(theme, {kind: outcomes.count(kind) for kind in sorted(set(outcomes))})
    return outcomes.count("compared")


@pytest.mark.parametrize("theme", THEMES)
def test_random_programs_side_by_side(theme: str) -> None:
    assert sweep(theme, range(150 if theme == "affine" else 25)) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("theme", THEMES)
def test_many_random_programs_side_by_side(theme: str) -> None:
    assert sweep(theme, range(25, 1400)) >= (50 if theme != "affine" else 1)
