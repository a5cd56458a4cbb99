"""Functions of the kinds that people explain: Captum's numbers, exceptions, state and time, and nothing left."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients
from two_hundred_functions.explained import CLASSES
from two_hundred_functions.judging import Found
from two_hundred_functions.page import page
from two_hundred_functions.runs import seeded
from two_hundred_functions.sections import RAISING, SECTIONS, examined, functions_of, missing

from captum_xdnn import XIntegratedGradients

PERCEPTRONS = "one perceptron in many settings"
QUICK = slice(3, None, 16)
"""The functions of each section that make the quick test."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The notice of Captum's route comes once for each kind of function."""
    logger = logging.getLogger("captum_xdnn")
    before = logger.level
    logger.setLevel("ERROR")
    yield
    logger.setLevel(before)


def found_of(section: str, chosen: slice) -> list[Found]:
    if missing(section):
        pytest.skip(f"there is no {missing(section)} here")
    functions = list(functions_of(section).items())[chosen]
    return [examined(section, name, make) for name, make in functions]


def faults_of(found: list[Found]) -> list[str]:
    return [f"{one.name}: {fault}" for one in found for fault in one.faults]


@pytest.mark.parametrize("section", SECTIONS)
def test_some_of_each_section(section: str) -> None:
    assert faults_of(found_of(section, QUICK)) == []


@pytest.mark.slow
@pytest.mark.parametrize("section", SECTIONS)
def test_every_function(section: str) -> None:
    assert faults_of(found_of(section, slice(None))) == []


def test_there_are_many_of_each_kind_without_other_packages() -> None:
    there = [section for section in SECTIONS if not missing(section)]
    assert sum(len(functions_of(section)) for section in there) >= 200


def test_every_class_is_used() -> None:
    """In the section that needs no other package."""
    made = [seeded(name, make) for name, make in functions_of(PERCEPTRONS).items()]
    assert {explained.method for explained in made} == set(CLASSES)


KEPT: list[Any] = []


def _busy() -> None:
    end = time.process_time() + 0.5
    while time.process_time() < end:
        pass


def _raise() -> None:
    message = "no"
    raise ValueError(message)


FAULTY: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "number": ("misses", lambda xig, found: 1.001 * found),
    "form": ("form", lambda xig, found: found.double()),
    "attribute": ("state", lambda xig, found: setattr(xig.forward_func, "used", True) or found),
    "hook": ("state", lambda xig, found: xig.forward_func.register_forward_hook(print) and found),
    "dice": ("process", lambda xig, found: torch.rand(1).isfinite() and found),
    "tensor": ("leaves", lambda xig, found: KEPT.append(xig.forward_func[0].weight) or found),
    "word": ("warns", lambda xig, found: warnings.warn("hm", stacklevel=1) or found),
    "time": ("takes", lambda xig, found: _busy() or found),
    "exception": ("raises", lambda xig, found: _raise()),
}


@pytest.mark.parametrize("kind", FAULTY)
def test_what_is_wrong_is_seen(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said, spoil = FAULTY[kind]

    class Faulty(XIntegratedGradients):
        def attribute(self, *args: Any, **kwargs: Any) -> Any:
            return spoil(self, super().attribute(*args, **kwargs))

    monkeypatch.setitem(CLASSES, "IntegratedGradients", (IntegratedGradients, Faulty))
    name = "MLP without biases"
    (one,) = [examined(PERCEPTRONS, name, functions_of(PERCEPTRONS)[name])]
    KEPT.clear()
    assert one.faults
    assert any(said in fault for fault in one.faults), one.faults


def test_that_nothing_raises_is_seen() -> None:
    name = "MLP, logit"
    one = examined(RAISING, name, functions_of(PERCEPTRONS)[name])
    assert one.faults == ["Captum raises nothing"]


def test_a_page_names_every_function_and_every_fault() -> None:
    single = Found("a", "3 x 4", "IntegratedGradients", ["single_pass"], "degree 2")
    single.ours, single.captums, single.ours_later, single.captums_later = 1, 2, 1, 4
    hoisted = Found("b", "3 x 4", "LayerConductance", ["hoisted", "captum"], "9% once", captums=1)
    raising = Found("c", raised="ValueError", faults=["state: more"])
    text = page({"tabular": [single, hoisted], "calls that raise": [raising]})
    assert "| a | 3 x 4 | single pass, degree 2 | 0 | 0.50x (1.00 s, 2.00 s) | 0.25x |  |" in text
    assert "| 0.00x (0 ms, 1.00 s) | 1.00x | `LayerConductance`; later: captum |" in text
    assert "raises ValueError" in text
    assert "**fault:** state: more" in text
    assert "It did not hold for 1, which say so" in text
    assert "| all | 3 | 1 | 1 | 0 | 1 | 2 | 1 |" in text
