"""What can never be proved, and what people are told of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from verdicts import IMAGE, X, blamed, conv, proved

from captum_xdnn import XIntegratedGradients
from captum_xdnn.homogeneity import certify
from captum_xdnn.routes import plan


def first(function: Callable[..., Any], inputs: Any = X, **call: Any) -> str:
    certificate = certify(function, inputs, **call)
    assert not certificate.homogeneous
    return certificate.blockers[0].reason


def test_a_random_function_is_refused_with_the_remedy() -> None:
    certificate = certify(nn.Sequential(nn.Linear(3, 3, bias=False), nn.Dropout(0.5)), X)
    assert "random" in certificate.blockers[0].reason
    assert certificate.blockers[0].remedy.startswith("call model.eval()")


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * torch.rand(3),
        lambda x: x * torch.from_numpy(torch.rand(3).numpy()),
        lambda x: x * torch.rand(1).item(),
        lambda x: x * torch.rand(3).tolist()[0],
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
    assert "random" in first(function) or "Python reads" in first(function)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * torch.empty(3),
        lambda x: x * torch.from_numpy(torch.empty(3).numpy()),
        lambda x: x * torch.empty(3).tolist()[0],
    ],
)
def test_uninitialised_memory_is_refused(function: Callable[..., Tensor]) -> None:
    assert first(function) in (
        "uninitialised memory",
        "Python reads a value that moves, and may decide by it",
    )


WEIGHT = torch.tensor([0.5, 2.0, 1.0])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * (2 * WEIGHT).tolist()[0],
        lambda x: x * torch.from_numpy((2 * WEIGHT).numpy()),
        lambda x: x * (2.0 if 1.0 in 2 * WEIGHT else 3.0),
        lambda x: x * float((2 * WEIGHT)[0]),
        lambda x: x.reshape(x.shape[0], (2 * WEIGHT).long().tolist()[0], -1),
    ],
)
def test_python_may_read_what_does_not_move(function: Callable[..., Tensor]) -> None:
    assert proved(function).degree == 1


WEIGHTS = torch.tensor([[1.0], [2.0]])


@pytest.mark.parametrize("median", [torch.median, torch.nanmedian])
@pytest.mark.parametrize(
    "function",
    [
        lambda x, m: m(x.sum(1, keepdim=True).expand(-1, 3), 1).values,
        lambda x, m: m(x[:, :2, None].expand(-1, -1, 4).transpose(1, 2), -2, keepdim=True).values,
        lambda x, m: x[:, :2] * m(WEIGHTS.expand(2, 3), 1).values,
    ],
    ids=["of the input", "of a view", "of a weight"],
)
def test_a_median_that_torch_gets_wrong_is_refused(
    function: Callable[..., Tensor], median: Callable[..., Any]
) -> None:
    assert "uninitialised memory for a median" in first(lambda x: function(x, median))
    assert proved(lambda x: function(x, lambda h, *a, **k: median(h.contiguous(), *a, **k)), X)


def test_a_median_that_torch_gets_wrong_is_not_hoisted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "WORTH_IT", 0.0)
    trunk = nn.Sequential(nn.Linear(3, 512, bias=False), nn.ReLU(), nn.Linear(512, 2, bias=False))

    def network(x: Tensor, between: Callable[[Tensor], Tensor]) -> Tensor:
        several = trunk(x).softmax(1)[:, :, None].expand(-1, -1, 3)
        return between(several).median(2).values

    routes = {}
    for name, between in {"wrong": lambda h: h, "right": torch.Tensor.contiguous}.items():
        xig = XIntegratedGradients(lambda x, between=between: network(x, between))
        xig.attribute(torch.rand(2, 3), target=0)
        routes[name] = xig.last_route
    assert routes == {"wrong": "captum", "right": "hoisted"}


def test_medians_that_torch_gets_right_are_fine() -> None:
    assert proved(lambda x: x.t().median(0).values, X)
    assert proved(lambda x: x[:, None].expand(-1, 3, -1).median(-1).values, X)


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
        (lambda x: x.abs().round(), "rounding"),
    ],
)
def test_reasons_are_told(function: Callable[..., Tensor], reason: str) -> None:
    assert reason in first(function)


def test_control_flow_of_torch_is_refused() -> None:
    def function(x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda y: y.relu(), lambda y: y.abs(), (x,))

    reason = first(function)
    assert "control flow" in reason or "cannot be watched" in reason
    xig = XIntegratedGradients(function)
    expected = IntegratedGradients(function).attribute(X, target=0)
    torch.testing.assert_close(xig.attribute(X, target=0), expected, rtol=0, atol=0)


def test_one_minus_relu_of_one_minus_x_is_refused() -> None:
    """It passes every test by values at x = 1, where its gradient is 0 and its attribution 1."""
    assert blamed(lambda x: 1 - F.relu(1 - x)) == ["aten.rsub.Scalar"]


@pytest.mark.parametrize(
    ("function", "remedy"),
    [
        (nn.ReLU6(), "replace it by a ReLU, which has no upper bound"),
        (lambda x: F.normalize(x), "let the bound be 0, or leave it out"),
        (lambda x: x.clamp(-1, 1), "let the bound be 0, or leave it out"),
    ],
)
def test_a_bound_comes_with_the_remedy_that_fits(
    function: Callable[..., Tensor], remedy: str
) -> None:
    assert certify(function, X).blockers[0].remedy == remedy
