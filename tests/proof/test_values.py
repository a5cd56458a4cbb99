"""Values that support a claim: baselines, batch sizes, arguments; and those that must not."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from calls import Counter
from captum.attr import IntegratedGradients
from torch import Tensor, nn
from verdicts import stack

from captum_xdnn import XIntegratedGradients
from captum_xdnn.homogeneity import certify

X = torch.ones(2, 3)


def test_a_value_that_depends_on_the_batch_size_holds_for_that_size() -> None:
    """It is zero in a batch of one, and in no other."""
    function = lambda x: (x + torch.arange(x.shape[0], dtype=x.dtype)[:, None]).relu()  # noqa: E731
    assert certify(function, X[:1]).homogeneous
    assert not certify(function, torch.ones(2, 3)).homogeneous
    assert certify(function, X[:1]).homogeneous


def test_a_value_that_vanishes_at_one_size_of_several_is_computed_for_each(proofs: Counter) -> None:
    function = lambda x: (x + (x.shape[0] - 4) * torch.ones(3)).relu()  # noqa: E731
    verdicts = {n: certify(function, torch.ones(n, 3)).homogeneous for n in (2, 3, 4, 5, 4, 2)}
    assert verdicts == {2: False, 3: False, 4: True, 5: False}
    assert proofs.count == 4


@pytest.mark.parametrize(
    "zero",
    [
        None,
        0,
        0.0,
        -0.0,
        torch.zeros(2, 3),
        torch.zeros(1, 3),
        -torch.zeros(2, 3),
        (torch.zeros(2, 3),),
    ],
)
def test_a_baseline_is_zero_by_its_value(zero: Any) -> None:
    certificate = certify(stack(), X, baselines=zero)
    assert certificate.homogeneous
    assert certificate.degree == 1
    assert not certificate.affine


@pytest.mark.parametrize("baseline", [1, 1e-30, torch.full((2, 3), 0.5), float("nan")])
def test_any_other_baseline_is_refused_in_front_of_a_bend(baseline: Any) -> None:
    certificate = certify(lambda x: x.relu(), X, baselines=baseline)
    assert not certificate.homogeneous
    assert certificate.blockers[0].reason == "the baseline of input 0 is not zero"


def test_a_mean_image_is_read_by_value() -> None:
    mean = torch.tensor([[0.5, 0.25, 1.0]])
    function = lambda x: ((x - mean) / 0.2).relu()  # noqa: E731
    assert certify(function, X, baselines=mean.clone()).degree == 1
    assert certify(function, X, baselines=mean.expand(2, 3)).degree == 1
    other = mean.clone()
    other[0, 1] += 1e-7
    assert not certify(function, X, baselines=other).homogeneous
    assert not certify(function, X).homogeneous
    assert certify(function, X, baselines=mean.clone()).homogeneous


def test_a_baseline_that_changes_in_place_is_read_anew() -> None:
    mean = torch.tensor([[0.5, 0.25, 1.0]])
    baseline = mean.clone()
    function = lambda x: (x - mean).relu()  # noqa: E731
    assert certify(function, X, baselines=baseline).homogeneous
    baseline += 1
    assert not certify(function, X, baselines=baseline).homogeneous


def test_where_the_value_of_the_baseline_does_not_matter_nothing_is_proved_anew(
    proofs: Counter,
) -> None:
    function = nn.Linear(3, 2)
    for _ in range(5):
        assert certify(function, X, baselines=torch.randn(2, 3)).affine
    assert proofs.count == 1


def test_baselines_of_several_inputs_are_told_apart() -> None:
    function = lambda x, y: x.relu() + y  # noqa: E731
    both = (X, X)
    assert certify(function, both).homogeneous
    assert certify(function, both, baselines=(0, 1.0)).affine
    certificate = certify(function, both, baselines=(1.0, 0))
    assert certificate.blockers[0].reason == "the baseline of input 0 is not zero"


def test_an_additional_argument_is_looked_at_in_each_call(proofs: Counter) -> None:
    function = lambda x, y: (x + y).relu()  # noqa: E731
    for shift in (0.0, 1.0, 0.0, 1.0):
        argument = torch.full((3,), shift)
        certificate = certify(function, X, additional_forward_args=argument)
        assert certificate.homogeneous is (shift == 0)
    assert certificate.blockers[0].op == "aten.add.Tensor"
    assert proofs.count == 2


def test_an_additional_argument_that_only_scales_needs_no_value(proofs: Counter) -> None:
    function = lambda x, y: (x * y).relu()  # noqa: E731
    for _ in range(3):
        assert certify(function, X, additional_forward_args=torch.randn(3)).degree == 1
    assert proofs.count == 1


def test_numbers_and_texts_are_part_of_the_question() -> None:
    function = lambda x, k, kind: (x + k).relu() if kind == "a" else x.exp()  # noqa: E731
    ask = lambda *args: certify(function, X, additional_forward_args=args).homogeneous  # noqa: E731
    assert [ask(0, "a"), ask(1, "a"), ask(0, "b"), ask(0, "a")] == [True, False, False, True]
    assert [ask(False, "a"), ask(0.0, "a"), ask(None, "b")] == [True, True, False]


def test_an_argument_may_be_of_any_class() -> None:
    class Settings:
        scale = 2.0

    settings = Settings()
    function = lambda x, given: x.relu() * given.scale  # noqa: E731
    xig, captum = XIntegratedGradients(function), IntegratedGradients(function)
    for scale in (2.0, 3.0):
        settings.scale = scale
        call = {"target": 0, "additional_forward_args": (settings,)}
        torch.testing.assert_close(xig.attribute(X, **call), captum.attribute(X, **call))
        assert xig.last_route == "single_pass"


def test_arguments_in_containers_are_looked_into() -> None:
    function = lambda x, d: (x * d["scale"]).relu() + d["list"][0] * x  # noqa: E731
    ask = lambda k: certify(function, X, additional_forward_args={"scale": X, "list": [k]})  # noqa: E731
    assert ask(1.0).homogeneous
    assert ask(2.0).homogeneous
    shifted = lambda x, d: (x + d["shift"][0]).relu()  # noqa: E731
    for shift in (0.0, 1.0, 0.0):
        found = certify(shifted, X, additional_forward_args={"shift": [torch.full((3,), shift)]})
        assert found.homogeneous is (shift == 0)


def test_an_argument_may_have_the_batch_of_the_input_or_not() -> None:
    function = lambda x, y: x.relu() * y  # noqa: E731
    for x, y in ((2, (2, 3)), (5, (5, 3)), (5, (3,))):
        found = certify(function, torch.ones(x, 3), additional_forward_args=torch.ones(y))
        assert found.degree == 1


VALUES: dict[str, Callable[[Tensor], Callable[[Tensor], Tensor]]] = {
    "a sum": lambda shift: lambda x: (x + shift).relu(),
    "a sum in place": lambda shift: lambda x: x.clone().add_(shift).relu(),
    "a layer": lambda shift: lambda x: nn.functional.linear(x, torch.eye(3), shift).relu(),
    "a norm": lambda shift: (
        lambda x: nn.functional.batch_norm(x, torch.zeros(3), torch.ones(3), None, shift).relu()
    ),
    "something computed": lambda shift: lambda x: (x + (shift * 2).exp() - 1).relu(),
    "a number": lambda shift: lambda x: (x + shift[0].item()).relu(),
    "two that meet": lambda shift: lambda x: ((x + 1) - (1 - shift)).relu(),
}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("unseen", [False, True], ids=["in place", "through .data"])
def test_a_value_that_is_relied_upon_is_looked_at_in_each_call(kind: str, unseen: bool) -> None:
    shift = torch.zeros(3)
    function = VALUES[kind](shift)
    xig, captum = XIntegratedGradients(function), IntegratedGradients(function)
    x = torch.tensor([[0.2, -0.7, 0.1], [-0.3, 0.4, 0.9]])
    for value in (0.0, 0.5, 0.0, -0.25, 0.0):  # after two refusals a call is not looked at
        if unseen:
            shift.data = torch.full((3,), value)
        else:
            shift.fill_(value)
        expected = captum.attribute(x, target=0, n_steps=20)
        found = xig.attribute(x, target=0, n_steps=20)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
        assert (xig.last_route == "single_pass") is (value == 0)


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        (torch.ones(2, 3, dtype=torch.bool), "input 0 is of dtype torch.bool"),
        (torch.ones(2, 3, dtype=torch.complex64), "input 0 is of dtype torch.complex64"),
        (torch.tensor(1.0), "input 0 has no batch dimension"),
        (torch.ones(0, 3), "input 0 is an empty batch"),
        ((X, torch.ones(2, dtype=torch.bool)), "input 1 is of dtype torch.bool"),
        (torch.eye(3).to_sparse(), "input 0 has layout torch.sparse_coo"),
    ],
)
def test_unsuitable_inputs_are_refused_by_position(inputs: Any, reason: str) -> None:
    certificate = certify(lambda *args: args[0], inputs)
    assert not certificate.homogeneous
    assert certificate.blockers[0].reason.startswith(reason)
    assert re.search(r"floating-point .* of shape \(B, ...\)", certificate.blockers[0].remedy)
