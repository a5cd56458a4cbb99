"""Every rule on the graph of a run: it finds the motions that its cases state."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from captum_xdnn.proof import registry
from captum_xdnn.proof.baseline_values import BaselineValues, Unavailable
from captum_xdnn.proof.domain import Motion, Unknown, is_constant
from captum_xdnn.proof.propagation import propagate
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.run import Graph
from rules.case import Case, Expected, Ray, Refused, motion, wanted
from rules.every_law import LAWS, PARAMETERS, row
from rules.graphs import place


@pytest.mark.parametrize(("law", "i"), PARAMETERS)
def test_the_analysis_finds_the_expected_motion(
    law: str, i: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    c = LAWS[law][i]
    said = _listen(c.op, monkeypatch)
    for key, expected in c.table.items():
        said.clear()
        with row(key):
            _check_analysis(c, key.split(), expected, place(law, i), said)


def _check_analysis(
    c: Case,
    letters: list[str],
    expected: Expected,
    place: tuple[Graph, list[Node], Node],
    said: list[Any],
) -> None:
    graph, placeholders, node = place
    motions, baseline_values = _motions_and_values(placeholders, Ray(c.values, letters), letters)
    shifts = dict.fromkeys(graph.inputs, "not zero at the baseline")
    propagation = propagate(graph, baseline_values, motions, shifts)
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
        assert _several(propagation.motions[node]) == wanted(expected)
    if expected == "A":
        if c.op.startswith("aten.as_strided"):  # it reads memory, which values do not lay out
            with pytest.raises(Unavailable):
                baseline_values.value(node)
            return
        torch.testing.assert_close(
            baseline_values.value(node), c.call(Ray(c.values, letters).at(0.0))
        )


def _motions_and_values(
    placeholders: list[Node], ray: Ray, letters: list[str]
) -> tuple[dict[Node, Motion], BaselineValues]:
    motions = {n: motion(letter) for n, letter in zip(placeholders, letters, strict=True)}
    values = {
        n: value
        for n, letter, value in zip(placeholders, letters, ray.at(0.0), strict=True)
        if letter in "FZA"
    }
    return motions, BaselineValues(values, {})


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
