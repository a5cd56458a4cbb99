"""What is proved of whole functions, and who is blamed where nothing is."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captum_xdnn.homogeneity import Certificate, certify

X = torch.ones(2, 3)
IMAGE = torch.ones(2, 3, 6, 6)


def blamed(function: Callable[..., Any], inputs: Any = X, **call: Any) -> list[str]:
    certificate = certify(function, inputs, **call)
    assert not certificate.homogeneous
    assert certificate.degree is None
    return [b.module or b.op for b in certificate.blockers]


def proved(function: Callable[..., Any], inputs: Any = X, **call: Any) -> Certificate:
    certificate = certify(function, inputs, **call)
    assert certificate.homogeneous, str(certificate)
    assert not certificate.blockers
    return certificate


def shifted_norm(channels: int, value: float = 1.0) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    nn.init.constant_(norm.bias, value)
    return norm


def conv(n_in: int, n_out: int, *, bias: float | None = None) -> nn.Conv2d:
    layer = nn.Conv2d(n_in, n_out, 3, padding=1, bias=bias is not None)
    if bias is not None:
        nn.init.constant_(layer.bias, bias)
    return layer


# -- what is proved -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "degree"),
    [
        (lambda x: F.relu(x).sum(1), 1),
        (lambda x: (x * x.abs()).sum(1), 2),
        (lambda x: x.norm(dim=1).sqrt(), Fraction(1, 2)),
        (lambda x: (x**3).sum(1) / x.norm(dim=1), 2),
        (lambda x: x.max(1).values * x.min(1).indices, 1),
        (lambda x: torch.where(x > 0, x, 2 * x) + x.sort(1)[0], 1),
        (lambda x: x[:, x[0].argmax()], 1),
        (lambda x: (x - x.mean(1, keepdim=True)) ** 2 * torch.softmax(x / x.norm(), 1), 2),
        (lambda x: x * torch.exp(torch.tensor(0.5)), 1),
    ],
)
def test_degrees_are_found_through_a_whole_function(
    function: Callable[..., Tensor], degree: Fraction
) -> None:
    certificate = proved(function)
    assert certificate.degree == degree
    assert not certificate.affine


def test_a_bias_on_the_last_layer_is_harmless() -> None:
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2))
    certificate = proved(model)
    assert certificate.affine
    assert certificate.degree == 1


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(conv(3, 4, bias=0.0), nn.ReLU()),
        nn.Sequential(conv(3, 4), shifted_norm(4, 0.0), nn.ReLU()).eval(),
        nn.Sequential(conv(3, 4, bias=0.0), nn.BatchNorm2d(4), nn.LeakyReLU()).eval(),
    ],
)
def test_a_shift_of_zero_is_none(model: nn.Module) -> None:
    certificate = proved(model, IMAGE)
    assert certificate.degree == 1
    assert not certificate.affine
    assert certificate.relied


def test_a_norm_whose_shift_cancels_is_promoted() -> None:
    norm = nn.BatchNorm2d(3).eval()
    with torch.no_grad():
        norm.running_mean.fill_(2.0)
        norm.bias.copy_(norm.running_mean * norm.weight * torch.rsqrt(norm.running_var + norm.eps))
    certificate = proved(nn.Sequential(norm, nn.ReLU()), IMAGE)
    assert set(certificate.relied) == {"0.weight", "0.bias", "0.running_mean", "0.running_var"}


def test_two_shifts_that_cancel_are_promoted_where_they_meet() -> None:
    assert proved(lambda x: F.relu((x + 2) * 3 - 6)).degree == 1
    assert blamed(lambda x: F.relu(F.relu(x + 2) * 3 - 6)) == ["aten.add.Tensor", "aten.sub.Tensor"]


def test_a_baseline_that_the_first_layer_maps_to_zero_is_as_good_as_zero() -> None:
    mean = torch.tensor([0.5, 0.25, 1.0])
    normalised = lambda x: F.relu((x - mean) / 0.2)  # noqa: E731
    certificate = proved(normalised, baselines=mean.expand(2, 3))
    assert certificate.degree == 1
    assert not certificate.affine
    assert blamed(normalised) == ["aten.sub.Tensor"]


def test_a_baseline_elsewhere_is_blamed_on_the_input() -> None:
    certificate = certify(lambda x: F.relu(x), X, baselines=0.5)
    (blocker,) = certificate.blockers
    assert blocker.op == "input"
    assert blocker.reason == "the baseline of input 0 is not zero"
    assert "zero baseline" in blocker.remedy


def test_a_linear_function_is_affine_from_every_baseline() -> None:
    certificate = proved(nn.Linear(3, 2), baselines=torch.randn(2, 3))
    assert certificate.affine


def test_what_does_not_depend_on_the_input_may_be_anything() -> None:
    table = torch.randn(3, 3)
    assert proved(lambda x: x @ torch.softmax(table.exp(), 0)).degree == 1


# -- who is blamed ------------------------------------------------------------------------------


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


# -- what can never be proved -------------------------------------------------------------------


def first(function: Callable[..., Any], inputs: Any = X, **call: Any) -> str:
    certificate = certify(function, inputs, **call)
    assert not certificate.homogeneous
    return certificate.blockers[0].reason


def test_a_random_function_is_refused_with_the_remedy() -> None:
    certificate = certify(nn.Sequential(nn.Linear(3, 3, bias=False), nn.Dropout(0.5)), X)
    assert "random" in certificate.blockers[0].reason
    assert certificate.blockers[0].remedy == "call model.eval()"


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * torch.rand(3),
        lambda x: x * torch.randn_like(x),
        lambda x: x * torch.bernoulli(torch.full((3,), 0.5)),
        lambda x: x[:, torch.randperm(3)],
        lambda x: x * torch.normal(0.0, torch.ones(3)),
        lambda x: x * torch.multinomial(torch.ones(3), 3),
        lambda x: x * torch.empty(3).uniform_(),
        lambda x: x * torch.poisson(torch.ones(3)),
        lambda x: F.rrelu(x, training=True),
        lambda x: F.alpha_dropout(x, 0.5, training=True),
        lambda x: F.dropout1d(x[:, :, None], 0.5)[:, :, 0],
    ],
)
def test_random_numbers_are_refused_even_when_nothing_that_moves_enters_them(
    function: Callable[..., Tensor],
) -> None:
    assert "random" in first(function)


def test_uninitialised_memory_is_refused() -> None:
    assert "uninitialised memory" in first(lambda x: x * torch.empty(3))


def test_memory_that_is_written_in_full_is_fine() -> None:
    assert proved(lambda x: torch.empty_like(x).copy_(x).relu_()).degree == 1
    assert proved(lambda x: x * torch.empty(3).fill_(2.0)).degree == 1


def test_memory_that_is_read_beside_being_written_is_not() -> None:
    assert "uninitialised memory" in first(_copied_onto_itself)


def _copied_onto_itself(x: Tensor) -> Tensor:
    memory = torch.empty(2, 3)
    return x * torch.ops.aten.copy.default(memory, memory)


def test_a_batch_norm_that_learns_is_refused() -> None:
    model = nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.ReLU())
    certificate = certify(model, IMAGE)
    assert certificate.blockers[0].module == "1"
    assert certificate.blockers[0].reason.startswith("it writes to ")
    assert certificate.blockers[0].remedy == "call model.eval()"


def test_statistics_of_the_batch_without_memory_are_refused() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)).eval()
    certificate = certify(model, IMAGE)
    assert certificate.blockers[0].module_type == "BatchNorm2d"
    assert "statistics of the input" in certificate.blockers[0].reason


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (nn.LayerNorm(6), "LayerNorm"),
        (nn.GroupNorm(3, 3), "GroupNorm"),
        (nn.InstanceNorm2d(3), "InstanceNorm2d"),
    ],
)
def test_other_norms_are_refused(layer: nn.Module, kind: str) -> None:
    certificate = certify(nn.Sequential(layer.eval(), nn.ReLU()), IMAGE)
    assert certificate.blockers[0].module_type == kind
    assert "statistics of the input" in certificate.blockers[0].reason


def test_a_norm_without_eps_is_homogeneous_of_degree_0() -> None:
    reason = first(nn.Sequential(nn.LayerNorm(6, eps=0.0, elementwise_affine=False)), IMAGE)
    assert reason == "the output does not change along the ray from the baseline"


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: torch.ones(2), "the output does not depend on the input"),
        (lambda x: x.argmax(1).float(), "the output does not change along the ray"),
        (lambda x: x / x.norm(), "the output does not change along the ray"),
        (lambda x: 1 / x.norm(dim=1), "the integral of its gradient diverges"),
        (lambda x: x.long().float(), "a cast to torch.int64, which truncates"),
        (lambda x: x**x, "a power whose exponent is a tensor"),
        (lambda x: (x > 1).float() * x, "a comparison with something other than zero"),
        (lambda x: torch.minimum(x, X), "parts that move differently meet"),
        (lambda x: x * x + x, "parts that move differently meet"),
        (lambda x: torch.where(x > 0, x, 1.0), "a choice that depends on the input"),
        (lambda x: torch.fft.fft(x).abs().round(), "rounding"),
    ],
)
def test_reasons_are_told(function: Callable[..., Tensor], reason: str) -> None:
    assert reason in first(function)


def test_control_flow_of_torch_is_refused_or_cannot_be_traced() -> None:
    def function(x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda y: y.relu(), lambda y: y.abs(), (x,))

    reason = first(function)
    assert "control flow" in reason or "cannot be traced" in reason


def test_one_minus_relu_of_one_minus_x_is_refused() -> None:
    """It passes every test by values at x = 1, where its gradient is 0 and its attribution 1."""
    assert blamed(lambda x: 1 - F.relu(1 - x)) == ["aten.rsub.Scalar"]
