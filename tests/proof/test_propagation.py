"""What is proved of whole functions."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from verdicts import IMAGE, X, blamed, conv, proved, shifted_norm

from captum_xdnn.homogeneity import certify


@pytest.mark.parametrize(
    ("function", "degree"),
    [
        (lambda x: F.relu(x).sum(1), 1),
        (lambda x: (x * x.abs()).sum(1), 2),
        (lambda x: x.norm(dim=1).sqrt(), Fraction(1, 2)),
        (lambda x: (x**3).sum(1) / x.norm(dim=1), 2),
        (lambda x: x.max(1).values * x.min(1).indices, 1),
        (lambda x: torch.where(x > 0, x, 2 * x) + x.sort(1)[0], 1),
        (lambda x: x.gather(1, x.argmax(1, keepdim=True)), 1),
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


@pytest.mark.parametrize(
    "model",
    [
        nn.RReLU(),
        nn.CircularPad2d(1),
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular", bias=False),
        nn.Conv2d(3, 4, 3, padding="same", padding_mode="reflect", bias=False),
        nn.RNN(6, 4, nonlinearity="relu", bias=False),
        nn.Flatten(2),
    ],
    ids=lambda model: type(model).__name__,
)
def test_layers_that_torch_computes_by_writing(model: nn.Module) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model.eval()

        def forward(self, x: Tensor) -> Tensor:
            if isinstance(self.inner, nn.RNN):
                return self.inner(x[:, 0])[0]
            return self.inner(x).relu()

    assert proved(Net(), IMAGE).degree == 1


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
