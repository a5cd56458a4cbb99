"""Who is blamed where nothing is proved."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from verdicts import IMAGE, X, blamed, conv, proved, shifted_norm

from captum_xdnn.homogeneity import certify


def test_the_bias_is_blamed_and_not_the_relu() -> None:
    model = nn.Sequential(conv(3, 4, bias=0.5), nn.ReLU(), conv(4, 2))
    certificate = certify(model, IMAGE)
    (blocker,) = certificate.blockers
    assert (blocker.module, blocker.module_type) == ("0", "Conv2d")
    assert blocker.reason == "bias of 4 outputs is not zero"
    assert "bias=False" in blocker.remedy


def test_a_bias_of_one_output_is_told_in_the_singular() -> None:
    model = nn.Sequential(nn.Linear(3, 1), nn.ReLU())
    assert certify(model, X).blockers[0].reason == "bias of 1 output is not zero"


def test_the_bias_and_the_shift_behind_it_are_both_blamed() -> None:
    model = nn.Sequential(conv(3, 4, bias=0.5), shifted_norm(4), nn.ReLU()).eval()
    certificate = certify(model, IMAGE)
    assert [b.module_type for b in certificate.blockers] == ["Conv2d", "BatchNorm2d"]
    assert certificate.blockers[1].reason == "shift of 4 channels is not zero at the baseline"


def test_a_norm_that_only_passes_a_bias_on_is_not_blamed() -> None:
    model = nn.Sequential(conv(3, 4, bias=0.5), shifted_norm(4, 0.0), nn.ReLU()).eval()
    assert blamed(model, IMAGE) == ["0"]


def test_a_bounded_relu_and_the_shift_before_it_are_both_blamed() -> None:
    model = nn.Sequential(conv(3, 4), shifted_norm(4), nn.ReLU6()).eval()
    certificate = certify(model, IMAGE)
    assert [b.module_type for b in certificate.blockers] == ["BatchNorm2d", "ReLU6"]
    assert certificate.blockers[1].reason == "the bound 6.0 is neither 0 nor absent"


def test_a_bounded_relu_alone_is_blamed_alone() -> None:
    model = nn.Sequential(conv(3, 4), shifted_norm(4, 0.0), nn.ReLU6()).eval()
    assert blamed(model, IMAGE) == ["2"]


def test_offenders_come_in_the_order_of_the_computation() -> None:
    model = nn.Sequential(
        conv(3, 4, bias=0.5), nn.ReLU(), nn.GELU(), conv(4, 2, bias=0.5), nn.ReLU(), nn.SiLU()
    )
    assert blamed(model, IMAGE) == ["0", "2", "3", "5"]


def test_the_search_goes_on_behind_an_obstacle() -> None:
    assert blamed(lambda x: torch.sigmoid(torch.exp(x)).log()) == [
        "aten.exp.default",
        "aten.sigmoid.default",
    ]


def test_what_stands_on_a_dead_branch_is_not_blamed() -> None:
    def function(x: Tensor) -> Tensor:
        unused = torch.exp(x + 1)
        unused.relu()
        return F.relu(x)

    assert proved(function).degree == 1


def test_only_what_the_output_rests_on_is_blamed() -> None:
    def function(x: Tensor) -> Tensor:
        several = torch.stack([F.gelu(x), F.relu(x)]).unbind(0)
        mask = F.silu(x) > 0
        return F.elu(x) + 0 * several[1].detach() if mask is None else F.elu(x)

    assert blamed(function) == ["aten.elu.default"]


def test_a_shift_that_meets_no_bend_is_not_blamed() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    parallel = lambda x: model(x) + torch.tanh(x)  # noqa: E731
    assert blamed(parallel) == ["aten.tanh.default"]


def test_a_gate_is_blamed_alone() -> None:
    """A gate is taken for a constant, an activation for degree 1: then no sum of them offends."""
    gated = lambda x: x * torch.sigmoid(x) + torch.tanh(x) + F.relu(x)  # noqa: E731
    assert blamed(gated) == ["aten.sigmoid.default", "aten.tanh.default"]


def test_a_shift_that_meets_a_bend_on_one_branch_only_is_blamed_once() -> None:
    model = nn.Linear(3, 3)
    assert blamed(lambda x: F.relu(model(x)) + model(x).abs() + model(x)) == ["model"] * 2


def test_a_product_of_two_affine_tensors_is_blamed_on_their_shifts() -> None:
    one, two = nn.Linear(3, 3), nn.Linear(3, 3)
    assert blamed(lambda x: one(x) * two(x)) == ["one", "two"]


def test_a_negative_verdict_never_turns_positive_by_an_assumption() -> None:
    """The search goes on under degree 1, and with degree 1 this output would certify."""
    assert blamed(lambda x: F.relu(F.gelu(x))) == ["aten.gelu.default"]
