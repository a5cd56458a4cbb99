"""Every rule, on the traced graph and by numbers in float64 along the ray."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Graph, Node

from captum_xdnn.homogeneity import registry
from captum_xdnn.homogeneity.limits import Limits
from captum_xdnn.homogeneity.motion import Affine, Fixed, Motion, Power, Unknown, is_constant
from captum_xdnn.homogeneity.propagation import propagate
from captum_xdnn.homogeneity.tracing import Traced, trace
from rules import (
    assembly,
    creation,
    layers,
    linear,
    ordering,
    pointwise,
    products,
    refused,
    selection,
)
from rules.case import Case, Expected, Ray, Refused, motion, results

LAWS = {
    module.__name__.rsplit(".", 1)[-1]: [c for c in module.CASES if c.exists()]
    for module in (
        assembly, creation, layers, linear, ordering, pointwise, products, selection, refused,
    )
}  # fmt: skip
EVERY = [c for cases in LAWS.values() for c in cases]
PARAMETERS = [
    pytest.param(law, i, id=f"{law}-{i}-{c.op.removeprefix('aten.')}")
    for law, cases in LAWS.items()
    for i, c in enumerate(cases)
]
PLACES = (1.0, 0.7, 0.3, 0.05)
CANDIDATES = [Fixed(), Affine(), *(Power(Fraction(n, 2)) for n in range(-6, 9))]


# -- the graph ----------------------------------------------------------------------------------


@functools.cache
def traced_law(law: str) -> Traced | Exception:
    """All cases of a law in one graph, since most of the time of tracing is a fixed cost."""
    return _trace([c for c in LAWS[law] if not c.by_hand])


@functools.cache
def traced_case(law: str, i: int) -> Traced:
    c = LAWS[law][i]
    traced = _by_hand(c) if c.by_hand else _trace([c])
    if isinstance(traced, Exception):
        raise traced
    return traced


def _trace(cases: list[Case]) -> Traced | Exception:
    operands = [t for c in cases for t in _example(c)]

    def function(_: Tensor, *operands: Tensor) -> Tensor:
        left = list(operands)
        parts = []
        for c in cases:
            count = len(c.values)
            mine, left = left[:count], left[count:]
            parts += [_numbers(r) for r in results(c.call(mine))]
        return torch.cat(parts)

    try:
        return trace(function, (torch.zeros(1), *operands))
    except Exception as error:
        return error


def _example(c: Case) -> list[Tensor]:
    return Ray(c.values, ["F"] * len(c.values)).at(1.0)


def _numbers(result: Tensor) -> Tensor:
    if result.is_complex():
        result = torch.view_as_real(result.resolve_conj())
    return result.reshape(-1).to(torch.float64)


def _by_hand(c: Case) -> Traced:
    graph = Graph()
    with FakeTensorMode() as mode:
        nodes, fakes = [], []
        for i, tensor in enumerate(_example(c)):
            nodes.append(graph.placeholder(f"operand{i}"))
            fakes.append(mode.from_tensor(tensor))
            nodes[-1].meta["val"] = fakes[-1]
        node = graph.call_function(c.overload, *c.filled(nodes))
        node.meta["val"] = c.call(fakes, c.overload)
    graph.output(node)
    return Traced(graph, tuple(nodes), (), {}, node, (), "", None, 1, (), 0.0)


@functools.cache
def _place(law: str, i: int) -> tuple[Traced, list[Node], Node]:
    """The graph of a case alone, the placeholders of its operands, the node of its operation."""
    c = LAWS[law][i]
    whole = None if c.by_hand else traced_law(law)
    if isinstance(whole, Traced):
        before = sum(len(k.values) for k in LAWS[law][:i] if not k.by_hand)
        traced, first = whole, 1 + before
    else:
        traced = traced_case(law, i)
        first = 0 if c.by_hand else 1
    placeholders = list(traced.inputs[first : first + len(c.values)])
    heirs = set(placeholders)
    for node in traced.graph.nodes:
        if heirs.intersection(node.all_input_nodes):
            heirs.add(node)
    found = [
        n for n in traced.graph.nodes if str(n.target) == c.op and (n in heirs or not placeholders)
    ]
    assert found, f"the graph holds no {c.op}: {[str(n.target) for n in heirs]}"
    return _cut_out(traced, placeholders, found[0])


def _cut_out(
    traced: Traced, placeholders: list[Node], last: Node
) -> tuple[Traced, list[Node], Node]:
    needed = {last, *placeholders}
    for node in reversed(traced.graph.nodes):
        if node in needed:
            needed.update(node.all_input_nodes)
    graph = Graph()
    copies: dict[Node, Node] = {}
    for node in traced.graph.nodes:
        if node in needed:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(copies[last])
    inputs = [copies[n] for n in placeholders]
    alone = dataclasses.replace(traced, graph=graph, inputs=tuple(inputs), output=copies[last])
    return alone, inputs, copies[last]


# -- analysis -----------------------------------------------------------------------------------


@contextmanager
def _row(key: str) -> Iterator[None]:
    """Say in which row of the table it failed."""
    try:
        yield
    except AssertionError as error:
        message = f"in the row {key!r}: {error}"
        raise AssertionError(message) from error


@pytest.mark.parametrize(("law", "i"), PARAMETERS)
def test_the_analysis_finds_the_expected_motion(
    law: str, i: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    c = LAWS[law][i]
    said = _listen(c.op, monkeypatch)
    for key, expected in c.table.items():
        said.clear()
        with _row(key):
            _check_analysis(c, key.split(), expected, _place(law, i), said)


def _check_analysis(
    c: Case,
    letters: list[str],
    expected: Expected,
    place: tuple[Traced, list[Node], Node],
    said: list[Any],
) -> None:
    traced, placeholders, node = place
    motions, limits = _motions_and_limits(traced, placeholders, Ray(c.values, letters), letters)
    shifts = dict.fromkeys(traced.inputs, "not zero at the baseline")
    propagation = propagate(traced, limits, motions, shifts)
    reasons = [o.reason for o in propagation.blocking(node)]
    moving = any(not is_constant(motion(letter)) for letter in letters)
    if moving and c.op in registry.RULES:
        assert said, "the rule was not asked"
        reasons += [m.reason for m in _several(said[0]) if isinstance(m, Unknown)]
    if isinstance(expected, Refused):
        assert propagation.assumed.get(node), f"claimed: {propagation.motions[node]}"
        assert any(expected.reason in reason for reason in reasons), reasons
    else:
        assert not propagation.assumed.get(node), reasons
        assert _several(propagation.motions[node]) == _wanted(expected)
    if expected == "A":
        torch.testing.assert_close(limits.value(node), c.call(Ray(c.values, letters).at(0.0)))


def _motions_and_limits(
    traced: Traced, placeholders: list[Node], ray: Ray, letters: list[str]
) -> tuple[dict[Node, Motion], Limits]:
    motions = {n: motion(letter) for n, letter in zip(placeholders, letters, strict=True)}
    values = {
        n: value
        for n, letter, value in zip(placeholders, letters, ray.at(0.0), strict=True)
        if letter in "FZA"
    }
    return motions, Limits(values, {n: n.name for n in values}, {})


def _listen(op: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the rule answers, in order."""
    said: list[Any] = []
    rule = registry.RULES.get(op)
    if rule is not None:

        def listening(*args: Any, **kwargs: Any) -> Any:
            outcome = rule(*args, **kwargs)
            said.append(outcome)
            return outcome

        monkeypatch.setitem(registry.RULES, op, listening)
    return said


def _several(outcome: Any) -> tuple[Motion, ...]:
    return outcome if isinstance(outcome, tuple) else (outcome,)


def _wanted(expected: str) -> tuple[Motion, ...]:
    return tuple(motion(letter.strip()) for letter in expected.split(","))


# -- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("law", "i"), PARAMETERS)
def test_the_numbers_obey_the_expected_motion(law: str, i: int) -> None:
    c = LAWS[law][i]
    for key, expected in c.table.items():
        with _row(key):
            _check_numbers(c, Ray(c.values, key.split(), seed=1), expected)


def _check_numbers(c: Case, ray: Ray, expected: Expected) -> None:
    if isinstance(expected, Refused):
        if not expected.cautious:
            assert _is_justified(c, ray), "a motion fits all results: this refusal is cautious"
        return
    wanted = _wanted(expected)
    for position, law_of_motion in enumerate(wanted):
        course = _course(c, ray, position)
        assert all(r.isfinite().all() for r in course[1]), "the numbers show nothing"
        assert _fits(law_of_motion, course), f"result {position} is not {law_of_motion}"
    assert len(wanted) == len(results(c.call(ray.at(1.0))))
    _check_derivatives(c, ray, wanted)


def _check_derivatives(c: Case, ray: Ray, wanted: tuple[Motion, ...]) -> None:
    """Autograd's derivative by a moving operand moves too, with the difference of the degrees."""
    for position, law in enumerate(wanted):
        if is_constant(law):
            continue
        for draw in range(ray.INPUTS):
            at_end = _derivatives(c, ray, position, 1.0, draw)
            for a in PLACES[1:]:
                slopes = _derivatives(c, ray, position, a, draw)
                for letter, slope, end in zip(ray.letters, slopes, at_end, strict=True):
                    if end is not None and letter not in "FZ":
                        power = float(_degree(law) - _degree(motion(letter)))
                        assert _same(slope, end * a**power), f"derivative of result {position}"


def _degree(law: Motion) -> Fraction:
    return law.degree if isinstance(law, Power) else Fraction(1)


def _derivatives(
    c: Case, ray: Ray, position: int, a: float, draw: int
) -> list[Tensor | None]:
    operands = [t.detach().clone() for t in ray.at(a, draw)]
    moving = [
        t.requires_grad_()
        for t, letter in zip(operands, ray.letters, strict=True)
        if letter not in "FZ" and (t.is_floating_point() or t.is_complex())
    ]
    if c.op == "aten.copy.default":  # it has no derivative, and stands for copy_, which has
        return [None] * len(operands)
    result = results(c.call(operands))[position]
    if not result.requires_grad or not moving:
        return [None] * len(operands)
    weights = torch.linspace(0.5, 2.0, result.numel(), dtype=result.dtype).reshape(result.shape)
    torch.autograd.backward(result, weights)
    return [t.grad for t in operands]


Course = tuple[list[Tensor] | None, list[Tensor], dict[float, list[Tensor]]]


def _course(c: Case, ray: Ray, position: int) -> Course:
    """One result at the baseline, at the input and in between, for each of several inputs."""

    def at(a: float) -> list[Tensor]:
        return [results(c.call(ray.at(a, d)))[position] for d in range(ray.INPUTS)]

    return at(0.0) if ray.has_limit() else None, at(1.0), {a: at(a) for a in PLACES}


def _is_justified(c: Case, ray: Ray) -> bool:
    count = len(results(c.call(ray.at(1.0))))
    courses = [_course(c, ray, position) for position in range(count)]
    return any(not any(_fits(m, course) for m in CANDIDATES) for course in courses)


def _fits(law: Motion, course: Course) -> bool:
    start, end, along = course
    scales = isinstance(law, Affine) or (isinstance(law, Power) and law.degree != 0)
    if scales and not (end[0].is_floating_point() or end[0].is_complex()):
        return False
    if isinstance(law, Fixed):
        return all(_same(t, end[0]) for values in along.values() for t in values)
    if isinstance(law, Affine):
        if start is None or not all(_same(t, start[0]) for t in start):
            return False
        return all(
            _same(t, s + a * (e - s))
            for a, values in along.items()
            for t, s, e in zip(values, start, end, strict=True)
        )
    degree = float(law.degree) if isinstance(law, Power) else 0.0
    return all(
        _same(t, e if degree == 0 else e * a**degree)
        for a, values in along.items()
        for t, e in zip(values, end, strict=True)
    )


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    if not (one.is_floating_point() or one.is_complex()):
        return bool(torch.equal(one, other.to(one.dtype)) and one.dtype == other.dtype)
    return bool(torch.allclose(one, other.to(one.dtype), rtol=1e-9, atol=1e-11, equal_nan=True))


# -- tables -------------------------------------------------------------------------------------


def test_the_cases_are_those_of_the_rules() -> None:
    stated = {c.op for law, cases in LAWS.items() if law != "refused" for c in cases}
    assert stated == {name for name in registry.RULES if _overload(name) is not None}


def test_each_case_stands_in_the_file_of_its_rule() -> None:
    homes = {name: rule.__module__.rsplit(".", 1)[-1] for name, rule in registry.RULES.items()}
    astray = {
        c.op: law for law, cases in LAWS.items() for c in cases if homes.get(c.op, "refused") != law
    }
    assert not astray


def test_every_case_claims_and_refuses_something_it_can_be_wrong_about() -> None:
    assert all(c.table for c in EVERY)
    claimed = {c.op for c in EVERY if any(isinstance(v, str) for v in c.table.values())}
    never = {
        "aten.fmod.Scalar",
        "aten.remainder.Scalar",
        "aten.pow.Tensor_Tensor",
        "aten.pow.Scalar",
    }
    assert set(registry.RULES) - claimed == never


def _core() -> Iterator[str]:
    for qualified in sorted(torch._C._dispatch_get_all_op_names()):
        namespace, _, rest = qualified.partition("::")
        if namespace in ("aten", "prims"):
            overload = _overload(f"{namespace}.{rest if '.' in rest else rest + '.default'}")
            if overload is not None and torch.Tag.core in overload.tags:
                yield str(overload)


def _overload(name: str) -> Any:
    outcome: Any = torch.ops
    for part in name.split("."):
        outcome = getattr(outcome, part, None)
    return outcome


def test_every_core_operation_has_a_rule_or_a_reason_to_have_none() -> None:
    core = set(_core())
    assert len(core) > 150, "the list of core operations was not found"
    assert sorted(core - registry.RULES.keys() - registry.REFUSED.keys()) == []


def test_every_refusal_has_a_reason_and_a_remedy() -> None:
    mute = [n for n, u in registry.REFUSED.items() if not u.reason.strip() or not u.remedy.strip()]
    assert mute == []
    assert not registry.RULES.keys() & registry.REFUSED.keys()


def test_every_rule_states_its_law() -> None:
    assert [n for n, rule in registry.RULES.items() if not (rule.__doc__ or "").strip()] == []


# -- signatures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(registry.RULES))
def test_a_rule_takes_what_the_operation_takes(name: str) -> None:
    """The dispatcher hands over positional arguments by place, and the others by name."""
    overload = _overload(name)
    if overload is None:
        pytest.skip("this release of torch does not have it")
    arguments = overload._schema.arguments
    places = [a for a in arguments if not a.kwarg_only]
    named = [a for a in arguments if a.kwarg_only]
    signature = inspect.signature(registry.RULES[name])
    required = [a for a in places if not a.has_default_value()]
    for shown in (places, required):
        signature.bind(*shown, **{a.name: a for a in named})
    signature.bind(*required, **{a.name: a for a in named if not a.has_default_value()})
    parameters = list(signature.parameters.values())
    by_name = [p for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD]
    for parameter in by_name:
        place = parameters.index(parameter)
        if place >= len(places):
            assert parameter.name in {a.name for a in named}
            continue
        assert parameter.name == places[place].name
        if places[place].has_default_value():
            assert parameter.default in (places[place].default_value, parameter.empty)
    unknown = {p.name for p in parameters if p.kind == p.KEYWORD_ONLY} - {a.name for a in named}
    required_unknown = {n for n in unknown if signature.parameters[n].default is inspect._empty}
    assert not required_unknown


def test_the_tracer_writes_arguments_in_the_order_of_the_schema() -> None:
    """What the test above relies on, for calls that name their arguments."""
    weight = torch.eye(4)

    def function(x: Tensor) -> Tensor:
        y = torch.ops.aten.mm.default(mat2=weight, self=x)
        y = torch.ops.aten.layer_norm.default(y, [4], bias=weight[0])
        y = torch.ops.aten.add.Tensor(other=weight, self=y, alpha=2)
        return torch.clamp(y, max=0.0)

    traced = trace(function, (torch.ones(4, 4, 4)[0][None].expand(1, 4, 4).reshape(4, 4),))
    calls = {str(n.target): n for n in traced.graph.nodes if n.op == "call_function"}
    assert not calls["aten.mm.default"].kwargs
    assert calls["aten.layer_norm.default"].args[2] is None
    assert len(calls["aten.layer_norm.default"].args) == 4
    assert dict(calls["aten.add.Tensor"].kwargs) == {"alpha": 2}
    assert calls["aten.clamp.default"].args[1:] == (None, 0.0)
