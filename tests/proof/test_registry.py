from __future__ import annotations

import doctest
from collections.abc import Iterator
from fractions import Fraction

import pytest
import torch
from torch import Tensor

import captum_xdnn
from captum_xdnn.homogeneity import unregister_rule
from captum_xdnn.proof import laws, registry
from captum_xdnn.proof.domain import FIXED, Affine, Motion, Power, Unknown
from captum_xdnn.proof.operand import Operand

NAME = "captum_xdnn_tests.cubed.default"


@torch.library.custom_op("captum_xdnn_tests::cubed", mutates_args=())
def cubed(x: Tensor, scale: Tensor) -> Tensor:
    return x**3 * scale


@cubed.register_fake
def _(x: Tensor, scale: Tensor) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("captum_xdnn_tests::halves", mutates_args=())
def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    return x / 2, torch.sign(x)


@halves.register_fake
def _(x: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(x)


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    unregister_rule([NAME, "captum_xdnn_tests.halves.default"])


SCALE = torch.tensor([2.0, 3.0])


def function(x: Tensor) -> Tensor:
    return cubed(x, SCALE)


def test_an_operation_without_a_rule_is_refused_by_name() -> None:
    certificate = captum_xdnn.certify(lambda x: cubed(x, SCALE), torch.ones(2, 2))
    assert not certificate.homogeneous
    assert certificate.blockers[0].reason == f"there is no rule for the operation {NAME}"
    assert "captum_xdnn.register_rule" in certificate.blockers[0].remedy


@pytest.mark.parametrize("form", ["name", "overload", "list"])
def test_a_rule_for_a_custom_operation_is_asked(form: str) -> None:
    overload = torch.ops.captum_xdnn_tests.cubed.default
    overloads = {"name": NAME, "overload": overload, "list": [overload]}[form]
    seen: list[tuple[Motion, torch.Size, bool]] = []

    @captum_xdnn.register_rule(overloads)
    def rule(x: Operand, scale: Operand) -> Motion:
        """Degree 3."""
        seen.append((scale.motion, x.fake.shape, scale.is_zero()))
        return laws.product(laws.homogeneous(x, 3), scale)

    certificate = captum_xdnn.certify(lambda x: cubed(x, SCALE), torch.ones(2, 2))
    assert certificate.degree == Fraction(3)
    assert [(m, shape[1], zero) for m, shape, zero in seen] == [(FIXED, 2, False)]


def test_a_rule_may_return_several_motions() -> None:
    @captum_xdnn.register_rule("captum_xdnn_tests.halves.default")
    def rule(x: Operand) -> tuple[Motion, Motion]:
        """Half, and the sign."""
        return laws.linear(x), laws.constant(x)

    def both(x: Tensor) -> Tensor:
        half, sign = halves(x)
        return half * sign

    assert captum_xdnn.certify(both, torch.ones(2, 2)).degree == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Unknown("a cube is not liked", "take a square"), "a cube is not liked"),
        (None, "did not return one motion per result"),
        ((Power(1), Power(1)), "did not return one motion per result"),
        ("degree 3", "did not return one motion per result"),
    ],
)
def test_a_rule_that_proves_nothing_is_a_blocker(answer: object, reason: str) -> None:
    @captum_xdnn.register_rule(NAME)
    def rule(x: Operand, scale: Operand) -> object:
        """Nothing."""
        return answer

    certificate = captum_xdnn.certify(lambda x: cubed(x, SCALE), torch.ones(2, 2))
    assert not certificate.homogeneous
    assert reason in certificate.blockers[0].reason


def test_a_faulty_rule_proves_nothing() -> None:
    @captum_xdnn.register_rule(NAME)
    def rule(x: Operand) -> Motion:
        """One argument short."""
        return x.motion

    certificate = captum_xdnn.certify(lambda x: cubed(x, SCALE), torch.ones(2, 2))
    assert certificate.blockers[0].reason.startswith(f"the rule for {NAME} failed: TypeError")


def test_a_rule_is_not_asked_when_nothing_moves() -> None:
    @captum_xdnn.register_rule(NAME)
    def rule(x: Operand, scale: Operand) -> Motion:
        """Must not be asked."""
        raise RuntimeError

    certificate = captum_xdnn.certify(lambda x: x * cubed(SCALE, SCALE), torch.ones(2, 2))
    assert certificate.degree == 1


def test_a_rule_cannot_claim_what_has_no_value_at_the_baseline() -> None:
    @captum_xdnn.register_rule(NAME)
    def rule(x: Operand, scale: Operand) -> Motion:
        """Wrong: an affine claim beside an operand that depends on the input."""
        return Affine()

    certificate = captum_xdnn.certify(lambda x: cubed(torch.sign(x), x), torch.ones(2, 2))
    assert certificate.blockers[0].reason == "the value at the baseline depends on the input"


# -- the table ----------------------------------------------------------------------------------


def test_a_second_rule_is_refused() -> None:
    captum_xdnn.register_rule(NAME)(lambda x, scale: FIXED)
    with pytest.raises(ValueError, match=rf"^these overloads have a rule already: {NAME}$"):
        captum_xdnn.register_rule(NAME)(lambda x, scale: FIXED)


def test_every_taken_name_is_listed_and_nothing_is_half_done() -> None:
    names = [NAME, "aten.relu.default", "aten.exp.default"]
    with pytest.raises(ValueError, match=r"aten\.exp\.default, aten\.relu\.default$"):
        captum_xdnn.register_rule(names)(lambda x: FIXED)
    assert NAME not in registry.RULES


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=NAME):
        captum_xdnn.register_rule([NAME, NAME])(lambda x: FIXED)


def test_a_rule_can_be_forgotten_and_given_anew() -> None:
    captum_xdnn.register_rule(NAME)(lambda x, scale: FIXED)
    unregister_rule(NAME)
    unregister_rule(NAME)
    captum_xdnn.register_rule(NAME)(lambda x, scale: FIXED)
    assert registry.is_known(NAME)


def test_the_rule_is_handed_back_as_it_is() -> None:
    def rule(x: Operand, scale: Operand) -> Motion:
        return FIXED

    assert captum_xdnn.register_rule(NAME)(rule) is rule


def test_registering_a_rule_changes_verdicts_that_were_given_before() -> None:
    """A user who reads the report and writes the rule asks again at once."""
    assert not captum_xdnn.certify(function, torch.ones(2, 2)).homogeneous
    captum_xdnn.register_rule(NAME)(lambda x, scale: laws.homogeneous(x, 3))
    assert captum_xdnn.certify(function, torch.ones(2, 2)).homogeneous
    unregister_rule(NAME)
    assert not captum_xdnn.certify(function, torch.ones(2, 2)).homogeneous


def test_the_example_in_the_documentation_runs() -> None:
    finder = doctest.DocTestFinder()
    runner = doctest.DocTestRunner()
    for example in finder.find(registry.register_rule, "register_rule"):
        runner.run(example)
    assert runner.summarize(verbose=False) == doctest.TestResults(failed=0, attempted=7)
