"""Batch norm -> the uncentred batch norm that is closest to it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import HomogeneityWarning
from captum_xdnn.convert import Change, to_xdnn
from captum_xdnn.nn import (
    UncenteredBatchNorm,
    UncenteredBatchNorm1d,
    UncenteredBatchNorm2d,
    UncenteredBatchNorm3d,
)

from .networks import trained

KINDS: dict[str, tuple[Any, type, tuple[int, ...]]] = {
    "BatchNorm1d": (nn.BatchNorm1d, UncenteredBatchNorm1d, (3,)),
    "BatchNorm2d": (nn.BatchNorm2d, UncenteredBatchNorm2d, (3, 2, 2)),
    "BatchNorm3d": (nn.BatchNorm3d, UncenteredBatchNorm3d, (3, 2, 2, 2)),
    "SyncBatchNorm": (nn.SyncBatchNorm, UncenteredBatchNorm, (3, 2, 2)),
}


def _converted(norm: nn.Module) -> Any:
    with pytest.warns(HomogeneityWarning, match="give inputs"):
        converted, _ = to_xdnn(norm)
    return converted


def _samples(mean: Tensor, variance: Tensor, count: int = 64) -> Tensor:
    """Float64 samples, shape (count, C), of exactly this mean and variance."""
    x = torch.randn(count, len(mean), dtype=torch.float64)
    x = x - x.mean(0)
    return mean + x * (variance / x.square().mean(0)).sqrt()


@pytest.mark.parametrize("eps", [1e-5, 0.1, 0.0])
@pytest.mark.parametrize("affine", [True, False])
def test_it_is_the_least_squares_fit_to_the_batch_norm(eps: float, affine: bool) -> None:
    norm = trained(nn.BatchNorm1d(5, eps=eps, affine=affine).double()).eval()
    x = _samples(norm.running_mean, norm.running_var + eps)
    y = norm(x)
    fitted = torch.stack([torch.linalg.lstsq(x[:, c : c + 1], y[:, c]).solution for c in range(5)])
    made = _converted(norm)
    assert_close(made(x), x * fitted.T)
    assert_close(made.running_mean_square + eps, x.square().mean(0))


def test_no_other_factor_is_closer() -> None:
    norm = trained(nn.BatchNorm1d(5).double()).eval()
    x = _samples(norm.running_mean, norm.running_var + norm.eps, 10_000)
    y = norm(x)
    made = _converted(norm)
    error = (made(x) - y).square().sum(0)
    for factor in (0.99, 1.01):
        assert ((factor * made(x) - y).square().sum(0) >= error).all()


def test_a_batch_norm_of_mean_zero_without_shift_stays_as_it_is() -> None:
    norm = trained(nn.BatchNorm2d(3).double())
    nn.init.zeros_(norm.running_mean)
    nn.init.zeros_(norm.bias)
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    made = _converted(norm.eval())
    assert_close(made(x), norm(x))
    assert_close(made.weight, norm.weight)
    assert_close(made.running_mean_square, norm.running_var)


def test_a_dead_channel_gets_a_harmless_factor() -> None:
    norm = trained(nn.BatchNorm1d(2).double()).eval()
    norm.running_mean.copy_(torch.tensor([1e-20, 0.0]))
    norm.running_var.copy_(torch.tensor([1e-40, 0.0]))
    made = _converted(norm)
    assert_close(made(torch.eye(2).double()), torch.diag(norm.weight) / norm.eps**0.5)


@pytest.mark.parametrize("name", KINDS)
def test_the_counterpart_of_each_kind(name: str) -> None:
    kind, counterpart, shape = KINDS[name]
    norm = trained(kind(3, eps=0.01, momentum=None)).eval()
    norm.num_batches_tracked.fill_(7)
    x = torch.zeros(2, *shape)
    made, report = to_xdnn(norm, inputs=x)
    assert type(made) is counterpart
    assert (made.eps, made.momentum, made.num_features) == (0.01, None, 3)
    assert int(made.num_batches_tracked) == 7
    assert report.changes == (Change("", name, f"became {counterpart.__name__}"),)
    assert report.homogeneous
    made.train()(torch.randn(2, *shape))
    assert int(made.num_batches_tracked) == 8


def test_a_subclass_without_a_forward_of_its_own_is_a_batch_norm() -> None:
    class Named(nn.BatchNorm2d):
        """Batch norm by another name."""

    made, report = to_xdnn(Named(3).eval(), inputs=torch.zeros(2, 3, 2, 2))
    assert type(made) is UncenteredBatchNorm2d
    assert report.changes[0].module_type == "Named"


class NormAndReLU(nn.BatchNorm2d):
    """What is lost if such a one is taken for a mere batch norm: its ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(super().forward(x))


@pytest.mark.parametrize("choice", ["uncentered", "fold", "strip"])
def test_a_subclass_with_a_forward_of_its_own_is_left_and_named(choice: Any) -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), trained(NormAndReLU(3))).eval()
    x = torch.randn(2, 3, 2, 2)
    with pytest.warns(HomogeneityWarning, match="NormAndReLU"):
        converted, report = to_xdnn(network, inputs=x, batch_norm=choice)
    assert_close(converted(x), network(x), rtol=0, atol=0)
    assert report.changes == ()
    reason = "its class has a forward of its own, which may do more than normalise"
    assert report.kept == (Change("1", "NormAndReLU", reason),)


@pytest.mark.parametrize("choice", ["uncentered", "fold", "strip"])
def test_without_running_statistics_it_is_left_and_named(choice: Any) -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False))
    with pytest.warns(HomogeneityWarning, match=r"1 \(BatchNorm2d\)"):
        converted, report = to_xdnn(
            network.eval(), inputs=torch.zeros(2, 3, 2, 2), batch_norm=choice
        )
    assert type(converted[1]) is nn.BatchNorm2d
    assert report.changes == (Change("0", "Conv2d", "bias removed"),)
    reason = "it keeps no running statistics, so nothing is known of its scale"
    assert report.kept == (Change("1", "BatchNorm2d", reason),)


def test_switched_off_tracking_stays_off() -> None:
    norm = nn.BatchNorm1d(3)
    norm.track_running_stats = False
    made = _converted(norm)
    made(torch.randn(4, 3))
    assert made.running_mean_square.tolist() == [1, 1, 1]


@pytest.mark.parametrize("trains", [True, False])
def test_the_factor_is_trained_if_the_batch_norms_was(trains: bool) -> None:
    norm = nn.BatchNorm1d(3)
    norm.weight.requires_grad_(trains)
    assert _converted(norm).weight.requires_grad is trains


def test_the_factor_is_not_trained_if_the_batch_norm_had_none() -> None:
    made = _converted(trained(nn.BatchNorm1d(3, affine=False)))
    assert not made.weight.requires_grad
    assert made.weight.ne(1).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype(dtype: torch.dtype) -> None:
    norm = trained(nn.BatchNorm1d(3)).to(dtype).eval()
    made = _converted(norm)
    assert {t.dtype for t in (made.weight, made.running_mean_square)} == {dtype}
    exact = _converted(norm.double())
    assert_close(made.weight.double(), exact.weight, rtol=torch.finfo(dtype).eps, atol=0)


def test_device() -> None:
    made = _converted(nn.BatchNorm1d(3, device="meta"))
    assert {t.device.type for t in made.state_dict().values()} == {"meta"}


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.ConvTranspose2d(3, 4, 2), (3, 5, 5)),
        (nn.Conv2d(4, 4, 2, groups=2), (4, 5, 5)),
        (nn.Linear(3, 4), (3,)),
    ],
)
def test_the_bias_before_it_is_a_part_of_its_mean(layer: Any, shape: tuple[int, ...]) -> None:
    norm = nn.BatchNorm2d(4) if len(shape) == 3 else nn.BatchNorm1d(4)
    network = trained(nn.Sequential(layer, norm)).double().eval()
    x = torch.randn(2, *shape, dtype=torch.float64)
    equal = copy.deepcopy(network)
    equal[0].bias = None
    equal[1].running_mean -= network[0].bias.detach()
    assert_close(equal(x), network(x))
    made, expected = to_xdnn(network, inputs=x)[0], to_xdnn(equal, inputs=x)[0]
    assert_close(made(x), expected(x))
    assert_close(dict(made.state_dict()), dict(expected.state_dict()))


def test_a_bias_that_others_see_is_no_part_of_the_mean() -> None:
    class Seen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.norm = nn.Linear(3, 4), nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.linear(x)
            return y + self.norm(y)

    network = trained(Seen()).eval()
    made, _ = to_xdnn(network, inputs=torch.zeros(2, 3))
    assert_close(made.norm.weight, _converted(network.norm).weight)
