"""How long it is kept, what it takes, what it says."""

from __future__ import annotations

import copy
import gc
import logging
import weakref
from typing import Any

import pytest
import torch
from calls import Counter, certify
from small_networks import stack
from torch import Tensor, nn

from captum_xdnn.homogeneity import certify as certify_anew
from captum_xdnn.homogeneity import knowledge, remembered
from captum_xdnn.homogeneity.knowledge import KEPT_CALLS
from captum_xdnn.homogeneity.remembered import knowledge_of

X = torch.ones(2, 3)


def test_a_contradicted_certificate_is_dropped_and_in_the_end_not_given_again(
    traces: Counter,
) -> None:
    model = stack()
    held = knowledge_of(model)
    for _ in range(knowledge.CONTRADICTIONS):
        assert certify(model, X).homogeneous
        held.drop("completeness failed by 0.5")
    assert traces.count == knowledge.CONTRADICTIONS
    certificate = certify(model, X)
    assert not certificate.homogeneous
    assert "contradicted by calls: completeness failed by 0.5" in certificate.blockers[0].reason
    assert "backward" in certificate.blockers[0].remedy
    model.train(not model.training)
    assert certify(model, X).homogeneous, "a changed function gets another chance"


@pytest.mark.parametrize("kind", ["module", "function", "method"])
def test_what_is_known_goes_with_the_function(kind: str) -> None:
    gone = _asked_once(kind)
    before = len(remembered._KNOWN)
    gc.collect()
    assert [reference() for reference in gone] == [None, None, None]
    assert len(remembered._KNOWN) <= before
    assert not any(reference() is None for reference, _ in remembered._KNOWN.values())


def _asked_once(kind: str) -> list[weakref.ref[Any]]:
    model = stack()
    function = {"module": model, "function": lambda x: model(x), "method": model.forward}[kind]
    assert certify(function, X).homogeneous
    return [weakref.ref(held) for held in (model, model[0], knowledge_of(function))]


def test_callables_without_weak_references_are_kept_in_small_number() -> None:
    class Slotted:
        __slots__ = ("model",)

        def __call__(self, x: Tensor) -> Tensor:
            return x.relu()

    functions = [Slotted() for _ in range(remembered.KEPT_FUNCTIONS + 3)]
    known = [knowledge_of(f) for f in functions]
    assert knowledge_of(functions[-1]) is known[-1]
    assert knowledge_of(functions[0]) is not known[0]
    assert len(remembered._KEPT) <= remembered.KEPT_FUNCTIONS


def test_memory_of_calls_is_bounded() -> None:
    model = stack()
    for n in range(KEPT_CALLS + 20):
        certify(model, torch.ones(2, 3).expand(2 + n, -1, -1)[:, 0] if n < 2 else torch.ones(n, 3))
    assert len(knowledge_of(model)._recent) <= KEPT_CALLS


def test_a_copy_of_a_model_knows_nothing_of_the_original(traces: Counter) -> None:
    model = stack()
    certify(model, X)
    twin = copy.deepcopy(model)
    twin[1] = nn.GELU()
    assert not certify(twin, X).homogeneous
    assert certify(model, X).homogeneous
    assert traces.count == 2


def test_a_person_who_asks_gets_an_answer_read_anew(traces: Counter, analyses: Counter) -> None:
    """Writes through ``.data`` are not counted by torch: only reading shows them."""
    model = stack(bias=True)
    assert certify_anew(model, X).homogeneous
    model[0].bias.data.fill_(1.0)
    assert not certify_anew(model, X).homogeneous
    model[0].bias.data.zero_()
    assert certify_anew(model, X).homogeneous
    assert (traces.count, analyses.count) == (1, 3)


def test_the_route_is_said_once_and_again_when_it_turns(caplog: pytest.LogCaptureFixture) -> None:
    model = stack(bias=True)
    with caplog.at_level(logging.INFO, logger="captum_xdnn"):
        for _ in range(3):
            certify(model, X)
        with torch.no_grad():
            model[0].bias.fill_(1.0)
        for _ in range(3):
            certify(model, X)
    said = [record.getMessage() for record in caplog.records if record.name == "captum_xdnn"]
    assert said == [
        "Sequential: single pass, exact (degree 1)",
        "Sequential: hoisted, 60.0% of the operations run once",
    ]


def test_nothing_is_said_below_info(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="captum_xdnn"):
        certify(stack(), X)
    assert [r for r in caplog.records if r.name.startswith("captum_xdnn")] == []
