"""The laws as algebra, and as statements about functions of the place on the ray."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from motions import (
    SOMETHING,
    ZERO,
    arguments,
    claims,
    course,
    degrees,
    motions,
    numbers,
    obeys,
    operand,
    pairs,
)

from captum_xdnn.proof.domain import (
    FIXED,
    SCALE_INVARIANT,
    Affine,
    Motion,
    Power,
    Unknown,
    is_constant,
)
from captum_xdnn.proof.laws import (
    BEND,
    added,
    constant,
    homogeneous,
    linear,
    merged,
    product,
    quotient,
    shared,
    switched,
)
from captum_xdnn.proof.operand import is_zero, motion_of

# -- algebra ------------------------------------------------------------------------------------


@given(st.lists(arguments, min_size=1, max_size=4))
def test_sums_do_not_depend_on_the_order(terms: list[Any]) -> None:
    assert len({added(*order) for order in itertools.permutations(terms)}) == 1
    assert len({shared(*order) for order in itertools.permutations(terms)}) == 1


@given(motions, motions, motions)
def test_sums_are_associative(one: Motion, two: Motion, three: Motion) -> None:
    assert added(added(one, two), three) == added(one, added(two, three)) == added(one, two, three)


@given(motions)
def test_a_tensor_added_to_itself_moves_as_before(motion: Motion) -> None:
    assert added(motion, motion) == motion


@given(motions, st.sampled_from([0, 0.0, 0j, False, None, ZERO]))
def test_zero_is_neutral_in_sums(motion: Motion, zero: Any) -> None:
    assert added(motion, zero) == added(zero, motion) == motion
    assert shared(motion, zero) == shared(motion)


@given(motions, st.sampled_from([float("inf"), float("-inf")]))
def test_an_infinite_number_scales_like_anything(motion: Motion, endless: float) -> None:
    assert added(motion, endless) == added(endless, motion) == motion
    assert shared(motion, endless) == shared(motion)


def test_only_a_known_zero_is_zero() -> None:
    assert not is_zero(SOMETHING)
    assert not is_zero(operand(Power(1), zero=True))
    assert not is_zero(FIXED)
    assert not is_zero(1e-300)
    assert not is_zero(float("nan"))


@given(motions, motions)
def test_products_do_not_depend_on_the_order(one: Motion, two: Motion) -> None:
    assert product(one, two) == product(two, one)


@given(motions, motions, motions)
def test_products_are_associative(one: Motion, two: Motion, three: Motion) -> None:
    assert product(product(one, two), three) == product(one, product(two, three))


@given(motions)
def test_what_is_fixed_is_neutral_in_products(motion: Motion) -> None:
    assert product(motion, FIXED) == product(motion, 3.0) == motion
    assert quotient(motion, FIXED) == quotient(motion, 3.0) == motion


@given(degrees, degrees)
def test_degrees_add_and_subtract_exactly(one: Fraction, two: Fraction) -> None:
    assert product(Power(one), Power(two)) == Power(one + two)
    assert quotient(Power(one), Power(two)) == Power(one - two)
    assert quotient(1.0, Power(two)) == Power(-two)


@given(motions, degrees, degrees)
def test_powers_of_powers_multiply(motion: Motion, one: Fraction, two: Fraction) -> None:
    twice = homogeneous(homogeneous(motion, one), two)
    assert twice == homogeneous(motion, one * two)


@given(motions)
def test_a_division_undoes_a_product(motion: Motion) -> None:
    assume(motion != Affine())
    assert quotient(product(motion, Power(2)), Power(2)) in (motion, SCALE_INVARIANT)


@given(motions)
def test_linear_maps_pass_everything(motion: Motion) -> None:
    assert linear(motion) is motion


@given(st.lists(arguments, min_size=1, max_size=3))
def test_signs_and_order_do_not_move(terms: list[Any]) -> None:
    outcome = constant(*terms)
    assert is_constant(outcome) or isinstance(outcome, Unknown)


@given(st.lists(arguments, min_size=1, max_size=3))
def test_what_is_jointly_homogeneous_can_also_be_added(terms: list[Any]) -> None:
    joint = shared(*terms)
    assert isinstance(joint, Unknown) or added(*terms) == joint


@given(st.lists(motions, min_size=1, max_size=3))
def test_a_fixed_mask_chooses_as_a_sum_adds(branches: list[Motion]) -> None:
    assert switched(FIXED, *branches) == merged(branches)


@given(st.lists(motions, min_size=1, max_size=3))
def test_a_mask_of_the_input_leaves_nothing_fixed_or_affine(branches: list[Motion]) -> None:
    assert not isinstance(switched(SCALE_INVARIANT, *branches), Affine | type(FIXED))


@pytest.mark.parametrize("mask", [Power(1), Power(-1), Affine(), Unknown()])
def test_a_mask_must_not_move(mask: Motion) -> None:
    assert isinstance(switched(mask, Power(1), Power(1)), Unknown)


@given(st.lists(motions, min_size=1, max_size=3), st.integers(0, 3))
def test_nothing_is_claimed_of_what_is_unknown(rest: list[Motion], at: int) -> None:
    terms = [*rest[:at], Unknown("nobody knows"), *rest[at:]]
    for law in (added, shared, constant):
        assert isinstance(law(*terms), Unknown)
    for other in rest:
        for pair in ((Unknown(), other), (other, Unknown())):
            assert isinstance(product(*pair), Unknown)
            assert isinstance(quotient(*pair), Unknown)
            assert isinstance(switched(*pair), Unknown)
    assert isinstance(homogeneous(Unknown(), 2), Unknown)


# -- functions of the place on the ray ----------------------------------------------------------

LAWS = {
    "sum": (added, lambda s, t: s + t),
    "maximum": (shared, max),
    "hypotenuse": (shared, lambda s, t: (s * s + t * t) ** 0.5),
    "product": (product, lambda s, t: s * t),
    "quotient": (quotient, lambda s, t: s / t if t else 0.0),
    "comparison": (constant, lambda s, t: float(s > t)),
}


@pytest.mark.parametrize("name", LAWS)
@given(pairs, numbers, numbers, numbers, numbers)
def test_a_law_holds_for_functions_that_move_so(
    name: str,
    pair: tuple[Motion, Motion],
    start: Fraction,
    end: Fraction,
    other_start: Fraction,
    other_end: Fraction,
) -> None:
    (law, function), (one, two) = LAWS[name], pair
    claim = law(one, two)
    assume(not isinstance(claim, Unknown))
    s, t = course(one, start, end), course(two, other_start, other_end)
    baseline_values = [
        0.0 if isinstance(m, Power) and m.degree > 0 else float(value)
        for m, value in ((one, start), (two, other_start))
        if not (isinstance(m, Power) and m.degree <= 0)
    ]
    at_baseline = function(*baseline_values) if len(baseline_values) == 2 else None
    assert obeys(claim, lambda a: function(s(a), t(a)), at_baseline)


@given(claims, numbers, numbers, st.sampled_from([Fraction(n, 2) for n in range(-4, 5)]))
def test_a_power_holds_for_functions_that_move_so(
    motion: Motion, start: Fraction, end: Fraction, degree: Fraction
) -> None:
    claim = homogeneous(motion, degree)
    assume(not isinstance(claim, Unknown))
    t = course(motion, abs(start), abs(end))
    assert obeys(claim, lambda a: t(a) ** float(degree), None)


# -- what people are told -----------------------------------------------------------------------


def test_a_bend_is_named() -> None:
    assert homogeneous(Affine()).reason == BEND
    assert shared(Affine(), Power(1)).reason == BEND


def test_unequal_parts_are_named_in_a_fixed_order() -> None:
    told = added(Power(2), FIXED, Power(Fraction(1, 2)))
    assert told.reason == (
        "parts that move differently meet: fixed, homogeneous of degree 1/2, homogeneous of degree 2"
    )


def test_an_added_number_is_named() -> None:
    assert added(Power(1), 2.5).cause == "the constant 2.5 is added"
    assert "a bias or shift" in added(Power(1), SOMETHING).cause


def test_the_cause_of_a_shift_is_handed_on() -> None:
    assert added(Affine("a bias of 3 outputs"), 2.5).cause == "a bias of 3 outputs"


def test_a_division_says_what_to_remove() -> None:
    told = quotient(Power(1), Affine())
    assert "division" in told.reason
    assert "eps" in told.remedy


def test_literals_and_absent_tensors_are_fixed() -> None:
    assert motion_of(3) == motion_of(None) == motion_of(True) == FIXED
    assert motion_of(operand(Power(3))) == Power(3)
