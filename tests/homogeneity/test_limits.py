"""Values at the baseline: which exist, what they are, and what they were read from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import Graph, Node

from captum_xdnn import certify
from captum_xdnn.homogeneity.limits import ARGUMENT, BATCH, Limits, Unavailable
from captum_xdnn.homogeneity.motion import FIXED, Affine, Motion, Power, Unknown
from captum_xdnn.homogeneity.operand import Operand
from captum_xdnn.homogeneity.tracing import Traced, trace

AFFINE = Affine()


def traced(function: Callable[..., Any], *inputs: Tensor, arguments: Any = ()) -> Traced:
    return trace(function, inputs or (torch.ones(2, 3),), arguments)


def limits_of(t: Traced, start: Tensor | None = None, **extra: Tensor) -> Limits:
    """Limits that know the constants of a graph, and its first input if a value is given."""
    values: dict[Node, Any] = {n: held for n, (_, held) in t.constants.items()}
    sources = {n: name for n, (name, _) in t.constants.items()}
    if start is not None:
        values[t.inputs[0]], sources[t.inputs[0]] = start, "baseline 0"
    for node, (name, value) in zip(t.arguments, extra.items(), strict=True):
        values[node], sources[node] = value, f"{ARGUMENT}{name}"
    return Limits(values, sources, t.sizes(2))


def node(t: Traced, op: str) -> Node:
    return next(n for n in t.graph.nodes if str(n.target) == op)


def track(limits: Limits, t: Traced, motion: Motion, *, inputs: Motion = AFFINE) -> None:
    """Let every operation have one motion, and the input another."""
    for n in t.graph.nodes:
        if n.op == "call_function":
            limits.track(n, motion)
    limits.track(t.inputs[0], inputs)


WEIGHT = torch.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]])
NOTHING = torch.zeros(2)
BIAS = torch.tensor([0.5, -1.0])


def layer(x: Tensor) -> Tensor:
    return nn.functional.linear(x, WEIGHT, BIAS)


def test_an_affine_tensor_has_the_value_that_it_has_at_the_baseline() -> None:
    t = traced(layer)
    start = torch.tensor([[1.0, -1.0, 2.0], [0.0, 3.0, 1.0]])
    limits = limits_of(t, start)
    track(limits, t, Affine())
    torch.testing.assert_close(limits.value(t.output), layer(start))


def test_what_is_homogeneous_of_positive_degree_is_zero_and_depends_on_nothing() -> None:
    t = traced(layer)
    limits = limits_of(t)
    track(limits, t, Power(2), inputs=Power(1))
    value = limits.value(t.output)
    assert value.shape == (2, 2)
    assert not value.any()
    assert Operand(Power(2), t.output, limits).vanishes(lambda v: v)
    assert limits.relied == set()


@pytest.mark.parametrize("motion", [Power(0), Power(-1), Unknown()])
def test_a_mask_a_reciprocal_and_the_unknown_have_none(motion: Motion) -> None:
    t = traced(lambda x: torch.sign(x) + 1)
    limits = limits_of(t, torch.zeros(2, 3))
    track(limits, t, Affine())
    limits.track(node(t, "aten.sign.default"), motion)
    with pytest.raises(Unavailable):
        limits.value(t.output)
    assert not Operand(Affine(), t.output, limits).is_zero()
    assert not limits.relied | limits.seen


def test_an_input_without_a_baseline_has_none() -> None:
    t = traced(layer)
    limits = limits_of(t)
    track(limits, t, Affine())
    with pytest.raises(Unavailable):
        limits.value(t.output)


def test_a_zero_is_relied_on_and_anything_else_is_only_seen() -> None:
    t = traced(lambda x: nn.functional.linear(x, WEIGHT, NOTHING) * BIAS)
    limits = limits_of(t)
    zero, something = (n for n, (_, held) in t.constants.items() if held.shape == (2,))
    if t.constants[zero][1].any():
        zero, something = something, zero
    assert Operand(FIXED, zero, limits).is_zero()
    assert not Operand(FIXED, something, limits).is_zero()
    assert limits.relied == {t.constants[zero][0]}
    assert limits.seen == {t.constants[something][0]}


def test_a_value_depends_on_all_that_it_was_computed_from() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    t = traced(model)
    limits = limits_of(t, torch.ones(2, 3))
    track(limits, t, Affine())
    assert not Operand(Affine(), t.output, limits).is_zero()
    assert limits.seen == {
        "baseline 0",
        *(f"model.{name}" for name in ("0.weight", "0.bias", "1.weight", "1.bias")),
    }


def test_a_zero_of_several_operands_depends_on_all_of_them() -> None:
    model = nn.BatchNorm1d(3).eval()
    t = traced(model)
    limits = limits_of(t)
    mean, bias = (
        next(n for n, (name, _) in t.constants.items() if name == f"model.{wanted}")
        for wanted in ("running_mean", "bias")
    )
    operands = [Operand(FIXED, n, limits) for n in (mean, bias)]
    assert operands[0].vanishes(lambda m, b: b - m, operands[1])
    assert limits.relied == {"model.running_mean", "model.bias"}


def test_the_value_of_an_additional_argument_supports_no_claim() -> None:
    t = traced(lambda x, y: x + 2 * y, arguments=(torch.zeros(3),))
    limits = limits_of(t, offset=torch.zeros(3))
    doubled = node(t, "aten.mul.Tensor")
    limits.track(doubled, FIXED)
    assert not limits.value(doubled).any()
    assert not Operand(FIXED, t.arguments[0], limits).is_zero()
    assert not Operand(FIXED, doubled, limits).is_zero()
    assert not limits.relied | limits.seen


def test_a_value_computed_from_the_batch_size_says_so() -> None:
    t = traced(lambda x: x + torch.arange(x.shape[0])[:, None] * 0.0)
    limits = limits_of(t)
    shift = node(t, "aten.mul.Tensor")
    for n in t.graph.nodes:
        if n.op == "call_function" and n is not t.output:
            limits.track(n, FIXED)
    assert Operand(FIXED, shift, limits).is_zero()
    assert limits.relied == {BATCH}


def test_sizes_stand_for_the_batch_of_the_call() -> None:
    t = traced(lambda x: x * (x.shape[0] + 1))
    limits = Limits({t.inputs[0]: torch.ones(5, 3)}, {}, t.sizes(5))
    track(limits, t, Affine())
    torch.testing.assert_close(limits.value(t.output), torch.full((5, 3), 6.0))


def test_an_operation_that_fails_at_the_baseline_has_no_value_there() -> None:
    start, last = _chain(_singular, 1)
    with pytest.raises(Unavailable):
        Limits({start: torch.zeros(2)}, {}, {}).value(last)


def test_a_value_that_is_not_a_number_is_not_zero() -> None:
    t = traced(lambda x: x / x)
    limits = limits_of(t, torch.zeros(2, 3))
    track(limits, t, Affine())
    assert limits.value(t.output).isnan().all()
    assert not Operand(Affine(), t.output, limits).is_zero()


def test_autocast_does_not_round_the_values() -> None:
    """The graph holds the casts that autocast made where it was traced; no others are made."""
    t = traced(lambda x: x @ WEIGHT.T)
    limits = limits_of(t, torch.full((2, 3), 1.0 + 2**-12))
    track(limits, t, Affine())
    with torch.autocast("cpu", torch.bfloat16):
        value = limits.value(t.output)
        assert torch.is_autocast_enabled("cpu")
    assert value.dtype == torch.float32
    torch.testing.assert_close(value[0, 0].item(), 6.0 * (1.0 + 2**-12), rtol=1e-7, atol=0)


def test_values_ask_for_no_gradient() -> None:
    t = traced(nn.Linear(3, 2))
    limits = limits_of(t, torch.ones(2, 3))
    track(limits, t, Affine())
    assert not limits.value(t.output).requires_grad


def test_a_deep_graph_needs_no_deep_stack() -> None:
    start, last = _chain(torch.ops.aten.add.Scalar, 5000, 1)
    limits = Limits({start: torch.zeros(2)}, {start: "baseline 0"}, {})
    assert limits.value(last)[0] == 5000
    assert not Operand(Affine(), last, limits).is_zero()
    assert limits.seen == {"baseline 0"}


def _chain(function: Callable[..., Tensor], length: int, *rest: Any) -> tuple[Node, Node]:
    """The first and the last node of a graph that applies a function again and again."""
    graph = Graph()
    start = last = graph.placeholder("start")
    for _ in range(length):
        last = graph.call_function(function, (last, *rest))
    return start, last


def _singular(matrix: Tensor) -> Tensor:
    message = "the matrix is singular"
    raise RuntimeError(message)


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
