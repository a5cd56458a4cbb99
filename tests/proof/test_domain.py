from __future__ import annotations

import copy
import dataclasses
import pickle
from fractions import Fraction

import pytest
from hypothesis import given
from motions import motions

from captum_xdnn.proof.domain import (
    FIXED,
    SCALE_INVARIANT,
    Affine,
    Fixed,
    Motion,
    Power,
    Unknown,
    is_constant,
)


def test_a_degree_is_an_exact_fraction() -> None:
    assert Power(2) == Power(Fraction(2))
    assert Power(Fraction(1, 3)).degree * 3 == 1
    assert isinstance(Power(1).degree, Fraction)


def test_constants_are_what_keeps_its_value_along_the_ray() -> None:
    assert Power(0) == SCALE_INVARIANT
    assert is_constant(FIXED)
    assert is_constant(SCALE_INVARIANT)
    assert not any(map(is_constant, (Power(1), Power(-1), Affine(), Unknown())))


def test_what_is_said_to_people_is_no_part_of_the_motion() -> None:
    assert Affine("a bias") == Affine("a shift")
    assert hash(Affine("a bias")) == hash(Affine("a shift"))
    assert Unknown("an exponential") == Unknown("a softmax", "use logits", SCALE_INVARIANT)
    assert len({Unknown("one"), Unknown("two"), Affine("three"), Affine("four")}) == 2


def test_the_four_motions_differ() -> None:
    assert len({FIXED, SCALE_INVARIANT, Power(1), Affine(), Unknown()}) == 5


@pytest.mark.parametrize(
    ("motion", "text"),
    [
        (FIXED, "fixed"),
        (Power(1), "homogeneous of degree 1"),
        (Power(Fraction(-1, 2)), "homogeneous of degree -1/2"),
        (Affine(), "affine"),
        (Unknown(), "unknown"),
    ],
)
def test_a_motion_reads_as_a_word(motion: Motion, text: str) -> None:
    assert str(motion) == text


def test_the_search_behind_an_unknown_goes_on_with_degree_1() -> None:
    assert Unknown().assume == Power(1)
    assert Unknown("", "", SCALE_INVARIANT).assume == SCALE_INVARIANT


@given(motions)
def test_motions_are_immutable_and_survive_a_pickle(motion: Motion) -> None:
    assert pickle.loads(pickle.dumps(motion)) == motion
    assert copy.deepcopy(motion) == motion
    names = [f.name for f in dataclasses.fields(motion)]
    for name in names:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(motion, name, None)
    assert names or isinstance(motion, Fixed)
