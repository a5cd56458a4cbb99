"""Values at the baseline: which exist, what they are, and what was asked of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from captum_xdnn import certify
from captum_xdnn.proof.baseline_values import BaselineValues, Unavailable
from captum_xdnn.proof.domain import FIXED, Affine, Motion, Power, Unknown
from captum_xdnn.proof.operand import Operand, itself
from captum_xdnn.recording.following import operations
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.run import Graph, graph_of
from captum_xdnn.recording.steps import Step, TensorInfo
from captum_xdnn.recording.watch import Tape

AFFINE = Affine()


@dataclass
class Run:
    """A run of a function: its graph, and the tensors that it took and did not compute."""

    graph: Graph
    taken: dict[Node, Tensor]

    @property
    def output(self) -> Node:
        assert self.graph.output is not None
        return self.graph.output

    def source(self, tensor: Tensor) -> Node:
        return next(n for n, held in self.taken.items() if held is tensor)

    def node(self, op: str) -> Node:
        return next(n for n in self.graph.nodes if str(n.target) == op)


def run(function: Callable[..., Any], *inputs: Tensor) -> Run:
    inputs = inputs or (torch.ones(2, 3),)
    tape = Tape(Step(None, None), inputs, placed=False)
    with operations(tape):
        returned = function(*inputs)
    tape.note_event("return", [returned])
    graph = graph_of(inputs, tape.path)
    return Run(graph, {graph.sources[n]: held for n, held in tape.sources.items()})


def baseline_values_of(r: Run, start: Tensor | None = None) -> BaselineValues:
    """Baseline values that know what a run took, and its first input if a value is given."""
    values: dict[Node, Any] = {n: held.detach() for n, held in r.taken.items()}
    if start is not None:
        values[r.graph.inputs[0]] = start
    return BaselineValues(values, {})


def track(
    baseline_values: BaselineValues, r: Run, motion: Motion, *, inputs: Motion = AFFINE
) -> None:
    """Let every operation have one motion, and the input another."""
    for n in r.graph.nodes:
        if n.op == "call_function":
            baseline_values.track(n, motion)
    for n in r.taken:
        baseline_values.track(n, FIXED)
    baseline_values.track(r.graph.inputs[0], inputs)


WEIGHT = torch.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]])
NOTHING = torch.zeros(2)
BIAS = torch.tensor([0.5, -1.0])


def layer(x: Tensor) -> Tensor:
    return nn.functional.linear(x, WEIGHT, BIAS)


def test_an_affine_tensor_has_the_value_that_it_has_at_the_baseline() -> None:
    r = run(layer)
    start = torch.tensor([[1.0, -1.0, 2.0], [0.0, 3.0, 1.0]])
    baseline_values = baseline_values_of(r, start)
    track(baseline_values, r, Affine())
    torch.testing.assert_close(baseline_values.value(r.output), layer(start))


def test_what_is_homogeneous_of_positive_degree_is_zero_and_depends_on_nothing() -> None:
    r = run(layer)
    baseline_values = BaselineValues({}, {})
    track(baseline_values, r, Power(2), inputs=Power(1))
    value = baseline_values.value(r.output)
    assert value.shape == (2, 2)
    assert not value.any()
    assert Operand(Power(2), r.output, baseline_values).vanishes(lambda v: v)


@pytest.mark.parametrize("motion", [Power(0), Power(-1), Unknown()])
def test_a_mask_a_reciprocal_and_the_unknown_have_none(motion: Motion) -> None:
    r = run(lambda x: torch.sign(x) + 1)
    baseline_values = baseline_values_of(r, torch.zeros(2, 3))
    track(baseline_values, r, Affine())
    baseline_values.track(r.node("aten.sign.default"), motion)
    with pytest.raises(Unavailable):
        baseline_values.value(r.output)
    assert not Operand(Affine(), r.output, baseline_values).is_zero()
    assert not baseline_values.answers


def test_an_input_without_a_baseline_has_none() -> None:
    r = run(layer)
    baseline_values = baseline_values_of(r)
    track(baseline_values, r, Affine())
    with pytest.raises(Unavailable):
        baseline_values.value(r.output)


def test_every_answer_is_noted_with_its_question() -> None:
    r = run(lambda x: nn.functional.linear(x, WEIGHT, NOTHING) * BIAS)
    baseline_values = baseline_values_of(r)
    zero, something = r.source(NOTHING), r.source(BIAS)
    assert Operand(FIXED, zero, baseline_values).is_zero()
    assert not Operand(FIXED, something, baseline_values).is_zero()
    noted = {(q.function, q.nodes): answer for q, answer in baseline_values.answers.items()}
    assert noted == {(itself, (zero,)): True, (itself, (something,)): False}


def test_several_questions_are_answered_together() -> None:
    r = run(lambda x: nn.functional.linear(x, WEIGHT, NOTHING) * BIAS)
    baseline_values = baseline_values_of(r)
    Operand(FIXED, r.source(NOTHING), baseline_values).is_zero()
    Operand(FIXED, r.source(BIAS), baseline_values).is_zero()
    asked = list(baseline_values.answers)
    assert baseline_values_of(r).answer(asked) == [True, False]
    changed = {n: torch.ones(2) if held is NOTHING else held for n, held in r.taken.items()}
    assert BaselineValues(changed, {}).answer(asked) == [False, False]


def test_a_zero_of_several_operands_is_asked_of_all_of_them() -> None:
    model = nn.BatchNorm1d(3).eval()
    r = run(model)
    baseline_values = baseline_values_of(r)
    nodes = [r.source(model.running_mean), r.source(model.bias)]
    operands = [Operand(FIXED, n, baseline_values) for n in nodes]
    assert operands[0].vanishes(lambda m, b: b - m, operands[1])
    (question,) = baseline_values.answers
    assert question.nodes == tuple(nodes)


def test_the_value_of_an_additional_argument_is_asked_as_any_other() -> None:
    function = lambda x, y: (x + 2 * y).relu()  # noqa: E731
    for offset, expected in ((torch.zeros(3), True), (torch.ones(3), False)) * 2:
        found = certify(function, torch.ones(2, 3), additional_forward_args=offset)
        assert found.homogeneous is expected


def test_a_value_computed_from_nothing_is_known() -> None:
    r = run(lambda x: x + torch.arange(x.shape[0])[:, None] * 0.0)
    baseline_values = baseline_values_of(r)
    for n in r.graph.nodes:
        if n.op == "call_function" and n is not r.output:
            baseline_values.track(n, FIXED)
    assert Operand(FIXED, r.node("aten.mul.Tensor"), baseline_values).is_zero()


def test_sizes_are_those_of_the_run() -> None:
    r = run(lambda x: x * (x.shape[0] + 1), torch.ones(5, 3))
    baseline_values = baseline_values_of(r, torch.ones(5, 3))
    track(baseline_values, r, Affine())
    torch.testing.assert_close(baseline_values.value(r.output), torch.full((5, 3), 6.0))


def test_an_operation_that_fails_at_the_baseline_has_no_value_there() -> None:
    r = run(lambda places: nn.functional.embedding(places, WEIGHT), torch.tensor([0, 1]))
    baseline_values = baseline_values_of(r, torch.tensor([7, 7]))
    track(baseline_values, r, Affine())
    with pytest.raises(Unavailable):
        baseline_values.value(r.output)


def test_a_value_that_is_not_a_number_is_not_zero() -> None:
    r = run(lambda x: x / x)
    baseline_values = baseline_values_of(r, torch.zeros(2, 3))
    track(baseline_values, r, Affine())
    assert baseline_values.value(r.output).isnan().all()
    assert not Operand(Affine(), r.output, baseline_values).is_zero()


def test_autocast_does_not_round_the_values() -> None:
    """The run holds the casts that autocast made in it; no others are made."""
    r = run(lambda x: x @ WEIGHT.T)
    baseline_values = baseline_values_of(r, torch.full((2, 3), 1.0 + 2**-12))
    track(baseline_values, r, Affine())
    with torch.autocast("cpu", torch.bfloat16):
        value = baseline_values.value(r.output)
        assert torch.is_autocast_enabled("cpu")
    assert value.dtype == torch.float32
    torch.testing.assert_close(value[0, 0].item(), 6.0 * (1.0 + 2**-12), rtol=1e-7, atol=0)


def test_values_ask_for_no_gradient() -> None:
    r = run(nn.Linear(3, 2))
    baseline_values = baseline_values_of(r, torch.ones(2, 3))
    track(baseline_values, r, Affine())
    assert not baseline_values.value(r.output).requires_grad


def test_a_deep_graph_needs_no_deep_stack() -> None:
    form = TensorInfo((2,), (1,), torch.float32, torch.device("cpu"))
    start = last = Node("start", None, value=form)
    for step in range(5000):
        last = Node("sum", torch.ops.aten.add.Scalar, (last, 1), value=form, step=step)
    baseline_values = BaselineValues({start: torch.zeros(2)}, {})
    assert baseline_values.value(last)[0] == 5000
    assert not Operand(Affine(), last, baseline_values).is_zero()


NEW = {
    "zeros": (lambda sent, size: sent.new_zeros(size), True),
    "full of zeros": (lambda sent, size: sent.new_full(size, 0.0), True),
    "full": (lambda sent, size: sent.new_full(size, 0.5), False),
    "ones": (lambda sent, size: sent.new_ones(size), False),
}


@pytest.mark.parametrize("name", NEW)
def test_a_new_tensor_of_the_kind_of_one_whose_size_nobody_knows(name: str) -> None:
    """How many edges a graph keeps depends on them; the sums over its nodes start from new ones."""
    new, homogeneous = NEW[name]

    def messages(x: Tensor, edges: Tensor) -> Tensor:
        kept = edges[:, edges[0] != edges[1]]
        sent = x[:, kept[0]]
        into = kept[1].expand(sent.shape)
        return new(sent, (len(x), 5)).scatter_add(1, into, sent).relu()

    edges = torch.tensor([[0, 1, 2, 2], [1, 1, 3, 4]])
    certificate = certify(messages, torch.ones(3, 5), additional_forward_args=(edges,))
    assert certificate.homogeneous is homogeneous
