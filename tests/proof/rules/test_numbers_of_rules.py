"""The motions that the cases state, checked by numbers in float64 along the ray."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from captum_xdnn.proof.domain import Affine, Fixed, Motion, Power, is_constant
from rules.case import Case, Expected, Ray, Refused, motion, results, wanted
from rules.every_law import LAWS, PARAMETERS, row

PLACES = (1.0, 0.7, 0.3, 0.05)
CANDIDATES = [Fixed(), Affine(), *(Power(Fraction(n, 2)) for n in range(-6, 9))]


# Torch says that an even kernel with padding="same" may copy its input; that is no fault here.
@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize(("law", "i"), PARAMETERS)
def test_the_numbers_obey_the_expected_motion(law: str, i: int) -> None:
    c = LAWS[law][i]
    for key, expected in c.table.items():
        with row(key):
            _check_numbers(c, Ray(c.values, key.split(), seed=1), expected)


def _check_numbers(c: Case, ray: Ray, expected: Expected) -> None:
    if isinstance(expected, Refused):
        if not expected.cautious:
            assert _is_justified(c, ray), "a motion fits all results: this refusal is cautious"
        return
    laws = wanted(expected)
    for position, law_of_motion in enumerate(laws):
        course = _course(c, ray, position)
        assert not any(r.isnan().any() for r in course[1]), "the numbers show nothing"
        assert _fits(law_of_motion, course), f"result {position} is not {law_of_motion}"
    assert len(laws) == len(results(c.call(ray.at(1.0))))
    _check_derivatives(c, ray, laws)


def _check_derivatives(c: Case, ray: Ray, laws: tuple[Motion, ...]) -> None:
    """Autograd's derivative by a moving operand moves too, with the difference of the degrees."""
    for position, law in enumerate(laws):
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


def _derivatives(c: Case, ray: Ray, position: int, a: float, draw: int) -> list[Tensor | None]:
    operands = [t.detach().clone() for t in ray.at(a, draw)]
    moving = [
        t.requires_grad_()
        for t, letter in zip(operands, ray.letters, strict=True)
        if letter not in "FZ" and (t.is_floating_point() or t.is_complex())
    ]
    if c.op in WITHOUT_DERIVATIVE:
        return [None] * len(operands)
    result = results(c.call(operands))[position]
    if not result.requires_grad or not moving:
        return [None] * len(operands)
    weights = torch.linspace(0.5, 2.0, result.numel(), dtype=result.dtype).reshape(result.shape)
    torch.autograd.backward(result, weights)
    return [t.grad for t in operands]


WITHOUT_DERIVATIVE = (
    "aten.copy.default",  # it stands for copy_, which has one
    "aten.lift_fresh.default",  # it gives back what it was given
    "aten.bincount.default",
    "aten.heaviside.default",
    "aten._embedding_bag_forward_only.default",
)
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
