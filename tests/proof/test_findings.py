"""Reports word for word: what a person reads has to be right, ordered and short."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from captum_xdnn.homogeneity import Blocker, Certificate, certify
from captum_xdnn.proof import findings as report

X = torch.ones(2, 3)
HERE = re.escape(__file__)


def helper(x: Tensor) -> Tensor:
    return x.exp()  # the line that is blamed


def test_a_homogeneous_function_whose_proof_read_nothing() -> None:
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU())
    assert str(certify(model, X)) == (
        "CERTIFIED: the output is homogeneous of degree 1 along the ray from the baseline.\n"
        "  Integrated Gradients is exact in one forward and one backward pass.\n"
        "  The proof reads no parameter's value: it survives training."
    )


def test_a_degree_is_a_fraction() -> None:
    text = str(certify(lambda x: x.norm(dim=1).sqrt(), X))
    assert text.startswith("CERTIFIED: the output is homogeneous of degree 1/2 along the ray")


def test_an_affine_function() -> None:
    text = str(certify(nn.Linear(3, 2), X))
    assert text.startswith(
        "CERTIFIED: the output is affine along the ray from the baseline (a constant plus degree 1)."
    )


@pytest.mark.parametrize(
    ("relied", "count", "line"),
    [
        (["bias"], "1 tensor", "  bias."),
        (list("abcd"), "4 tensors", "  a, b, c, d."),
        (list("abcdef"), "6 tensors", "  a, b, c, d and 2 more."),
    ],
)
def test_what_training_changes_is_said_first(relied: list[str], count: str, line: str) -> None:
    lines = report.positive(Fraction(1), relied, offset=False).splitlines()
    assert lines == [
        f"CERTIFIED FOR THE VALUES AT HAND, which training changes: {count}, now zero or without a shift.",
        line,
        "  As long as that holds, which each call looks at, the output is homogeneous of degree 1 along "
        "the ray from the baseline. Integrated Gradients is exact in one forward and one backward pass.",
    ]


def test_the_batch_norms_of_a_network_are_one_line() -> None:
    layers: list[nn.Module] = [nn.Conv2d(1, 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    for width in (128, 20000):
        layers += [nn.Conv2d(64, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        layers += [nn.Conv2d(width, 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    model = nn.Sequential(*layers).eval()
    for module in model:
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.bias)
    assert str(certify(model, torch.ones(1, 1, 1, 1))).splitlines() == [
        "NOT CERTIFIED: a single pass would not be exact, so Captum's own IntegratedGradients runs.",
        "  5 places of 1 kind:",
        "  5 x BatchNorm2d: shift of 64 channels is not zero at the baseline",
        "      first: 1 (BatchNorm2d)",
        "      remedy: remove it (bias=False), or set it to zero, and retrain",
        "  captum_xdnn.convert.to_xdnn(model) does to layers what is to be retrained",
    ]


def test_kinds_come_in_the_order_of_their_first_offender() -> None:
    model = nn.Sequential(
        nn.Linear(3, 3), nn.GELU(), nn.Linear(3, 3), nn.SiLU(), nn.GELU(), nn.Softmax(-1)
    )
    for layer in (model[0], model[2]):
        nn.init.ones_(layer.bias)
    lines = str(certify(model, X)).splitlines()
    assert lines[1] == "  6 places of 4 kinds:"
    assert [line.strip() for line in lines if " x " in line] == [
        "2 x Linear: bias of 3 outputs is not zero",
        "2 x GELU: an activation that is not positively homogeneous",
        "1 x SiLU: an activation that is not positively homogeneous",
        "1 x Softmax: softmax compares exponentials, which do not scale",
    ]
    assert [line.strip() for line in lines if "first:" in line] == [
        "first: 0 (Linear)", "first: 1 (GELU)", "first: 3 (SiLU)", "first: 5 (Softmax)",
    ]  # fmt: skip


def test_the_user_s_own_line_is_shown_also_outside_of_forward() -> None:
    text = str(certify(lambda x: helper(x), X))
    assert re.search(rf"at {HERE}:\d+: return x\.exp\(\)  # the line that is blamed$", text, re.M)


def test_a_function_outside_modules_goes_by_its_operation() -> None:
    lines = str(certify(helper, X)).splitlines()
    assert lines[2] == "  1 x aten.exp.default: a transcendental function, which does not scale"
    assert lines[3] == "      first: aten.exp.default"


def test_a_decision_on_a_value_is_reported_with_its_line() -> None:
    lines = str(certify(lambda x: x if x.sum() > 0 else -x, X)).splitlines()
    assert lines[1] == "  1 place of 1 kind:"
    assert lines[2].endswith(": Python reads a value that moves, and may decide by it")
    assert "lambda x: x if x.sum() > 0 else -x" in lines[4]
    assert lines[-1].startswith("      remedy: keep the computation in tensors")


def test_a_function_that_raises_reports_why() -> None:
    lines = str(certify(lambda x: x @ torch.ones(5, 5), X)).splitlines()
    assert lines[1] == "  1 place of 1 kind:"
    assert lines[2].startswith("  1 x forward: it cannot be watched: it raises RuntimeError: mat1 ")
    assert lines[-1].startswith("      remedy: give inputs and arguments that the function accepts")


def test_places_are_counted_once_though_they_offend_twice() -> None:
    twice = [Blocker("aten.linear.default", "fc", "Linear", "a.py:1: x", r, "") for r in "ab"]
    assert report.negative(twice).splitlines()[1] == "  1 place of 2 kinds:"


def test_what_is_not_known_is_left_out() -> None:
    text = report.negative([Blocker("aten.exp.default", "", "", "", "it does not scale", "")])
    assert text.splitlines()[2:] == [
        "  1 x aten.exp.default: it does not scale",
        "      first: aten.exp.default",
    ]


def test_numbers_of_any_length_make_one_kind() -> None:
    blockers = [
        Blocker("op", str(n), "Linear", "", f"bias of {n} outputs is not zero", "") for n in
        (1, 10, 100, 1000, 10000, 100000, 123456789)
    ]  # fmt: skip
    assert "  7 places of 1 kind:" in report.negative(blockers)


def test_the_certificate_prints_its_report() -> None:
    certificate = Certificate.refused(Blocker("op", "fc", "Linear", "", "reason", "remedy"))
    assert f"{certificate}" == report.negative(certificate.blockers)
