"""Functions of the kinds that people explain: Captum's numbers, exceptions, state and time, and nothing left."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from two_hundred_functions.explained import CLASSES
from two_hundred_functions.judging import Found
from two_hundred_functions.page import page
from two_hundred_functions.runs import seeded
from two_hundred_functions.sections import SECTIONS, examined, functions_of, missing

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


def test_what_is_wrong_is_seen() -> None:
    """A function that no fault was found of says so only if faults are found."""
    name, make = next(iter(functions_of(PERCEPTRONS).items()))
    assert faults_of([examined("calls that raise", name, make)]) == [
        f"{name}: Captum raises nothing"
    ]


def test_a_page_names_every_function_and_every_fault() -> None:
    found = {
        "tabular": [
            Found(
                "a", "3 x 4", "IntegratedGradients", ["single_pass"], "degree 2", ours=1, captums=2
            ),
            Found("b", "3 x 4", "LayerConductance", ["hoisted", "captum"], "9% once", captums=1),
        ],
        "calls that raise": [Found("c", raised="ValueError", faults=["state: more"])],
    }
    text = page(found)
    assert "| a | 3 x 4 | single pass, degree 2 | 0 | 0.50x (1.00 s, 2.00 s) |  |" in text
    assert (
        "| hoisted, 9% once | 0 | 0.00x (0 ms, 1.00 s) | `LayerConductance`; later: captum |"
        in text
    )
    assert "raises ValueError" in text
    assert "**fault:** state: more" in text
    assert "It did not hold for 1, which say so" in text
    assert "| all | 3 | 1 | 1 | 0 | 1 | 2 of 2 |" in text
