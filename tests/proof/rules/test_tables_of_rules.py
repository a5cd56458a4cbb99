"""The registry as a whole: complete, explained, and in the form of the operations."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import torch

from captum_xdnn.proof import registry
from captum_xdnn.recording.following import operations
from captum_xdnn.recording.run import graph_of
from captum_xdnn.recording.steps import Step
from captum_xdnn.recording.watch import Tape
from rules.every_law import LAWS

ENTER = ("law", "of_degree", "of_two", "_batch_norm")
EVERY = [c for cases in LAWS.values() for c in cases]


def test_the_cases_are_those_of_the_rules() -> None:
    stated = {c.op for law, cases in LAWS.items() if law != "refused" for c in cases}
    assert stated == {name for name in registry.RULES if _overload(name) is not None}


def test_each_case_stands_in_the_file_of_its_rule() -> None:
    homes = {name: home for home in LAWS for name in _entered(home)}
    astray = {
        c.op: law
        for law, cases in LAWS.items()
        for c in cases
        if (homes[c.op] if c.op in registry.RULES else "refused") != law
    }
    assert not astray


def _entered(home: str) -> Iterator[str]:
    """The overloads that a file of the package enters, read off its source."""
    module = import_module(f"captum_xdnn.proof.rules.{home}")
    for call in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ENTER:
            names = call.args[0]
            if not isinstance(names, ast.Name) or hasattr(module, names.id):
                listed: str = eval(ast.unparse(names), vars(module))
                yield from registry.overloads_of(listed)


def test_every_case_claims_and_refuses_something_it_can_be_wrong_about() -> None:
    assert all(c.table for c in EVERY)
    claimed = {c.op for c in EVERY if any(isinstance(v, str) for v in c.table.values())}
    never = {
        "aten.fmod.Scalar",
        "aten.remainder.Scalar",
        "aten.remainder.Scalar_Tensor",
        "aten.pow.Scalar",
    }
    here = {name for name in registry.RULES if _overload(name) is not None}
    assert here - claimed == never


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


@pytest.mark.parametrize("name", sorted(registry.RULES))
def test_a_rule_takes_what_the_operation_takes(name: str) -> None:
    """The dispatcher hands over positional arguments by place, and the others by name."""
    overload = _overload(name)
    if overload is None:
        # Every name is known to this one: a rule for a misspelt name would never be asked.
        assert torch.__version__ < "2.15", f"torch has no {name}"
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


def test_a_run_holds_arguments_in_the_order_of_the_schema() -> None:
    """What the test above relies on, for calls that name their arguments."""
    weight = torch.eye(4)
    x = torch.ones(4, 4)
    tape = Tape(Step(None, None), (x,), placed=False)
    with torch.inference_mode(), operations(tape):
        y = torch.ops.aten.mm.default(mat2=weight, self=x)
        y = torch.ops.aten.layer_norm.default(y, [4], bias=weight[0])
        y = torch.ops.aten.add.Tensor(other=weight, self=y, alpha=2)
        torch.clamp(y, max=0.0)
    graph = graph_of((x,), tape.path)
    calls = {str(n.target): n for n in graph.nodes if n.op == "call_function"}
    assert not calls["aten.mm.default"].kwargs
    assert calls["aten.layer_norm.default"].args[2] is None
    assert len(calls["aten.layer_norm.default"].args) == 4
    assert dict(calls["aten.add.Tensor"].kwargs) == {"alpha": 2}
    assert calls["aten.clamp.default"].args[1:] == (None, 0.0)
