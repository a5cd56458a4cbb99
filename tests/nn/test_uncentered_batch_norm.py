"""Uncentred batch norm: the numbers of its definition, in both modes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from slow_batch_norm import SlowBatchNorm, batch
from torch import nn
from torch.testing import assert_close

from captum_xdnn.nn import (
    UncenteredBatchNorm,
    UncenteredBatchNorm1d,
    UncenteredBatchNorm2d,
    UncenteredBatchNorm3d,
)

KINDS = [
    pytest.param(UncenteredBatchNorm1d, 0, id="1d-rows"),
    pytest.param(UncenteredBatchNorm1d, 1, id="1d-sequences"),
    pytest.param(UncenteredBatchNorm2d, 2, id="2d"),
    pytest.param(UncenteredBatchNorm3d, 3, id="3d"),
    pytest.param(UncenteredBatchNorm, 2, id="any"),
]
WEIGHT = [0.5, -2.0, 3.0]


def _both(kind: type[UncenteredBatchNorm], **options: Any) -> tuple[Any, SlowBatchNorm]:
    norm = kind(3, dtype=torch.float64, **options)
    known = {name: options[name] for name in ("eps", "momentum") if name in options}
    if norm.weight is None:
        return norm, SlowBatchNorm(3, **known)
    nn.init.constant_(norm.weight, 0).data += torch.tensor(WEIGHT)
    return norm, SlowBatchNorm(3, weight=list(WEIGHT), **known)


@pytest.mark.parametrize(("kind", "dimensions"), KINDS)
@pytest.mark.parametrize("momentum", [0.1, 1.0, None])
def test_the_definition_in_training_and_evaluation(
    kind: Any, dimensions: int, momentum: float | None
) -> None:
    norm, slow = _both(kind, momentum=momentum)
    for examples in (5, 2, 7):
        x = batch(dimensions, examples=examples)
        assert_close(norm(x), slow.train(x))
    assert_close(norm.running_mean_square.tolist(), slow.running)
    assert int(norm.num_batches_tracked) == 3
    x = batch(dimensions)
    assert_close(norm.eval()(x), slow.evaluate(x))
    assert_close(norm.running_mean_square.tolist(), slow.running)
    assert int(norm.num_batches_tracked) == 3


@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.5])
def test_eps_is_added_to_the_mean_square(eps: float) -> None:
    norm, slow = _both(UncenteredBatchNorm2d, eps=eps)
    x = batch(2)
    assert_close(norm(x), slow.train(x))
    assert_close(norm.eval()(x), slow.evaluate(x))


def test_without_factors() -> None:
    norm, slow = _both(UncenteredBatchNorm1d, affine=False)
    assert list(norm.parameters()) == []
    x = batch(0)
    assert_close(norm(x), slow.train(x))
    assert_close(norm.eval()(x), slow.evaluate(x))


def test_without_running_statistics_those_of_the_batch_are_used() -> None:
    norm, slow = _both(UncenteredBatchNorm2d, track_running_stats=False)
    assert list(norm.buffers()) == []
    x = batch(2)
    expected = slow.train(x)
    assert_close(norm(x), expected)
    assert_close(norm.eval()(x), expected)
    norm.reset_running_stats()


def test_switched_off_tracking_leaves_the_running_statistics_as_torchs_does() -> None:
    norm, slow = _both(UncenteredBatchNorm2d)
    norm.track_running_stats = False
    x = batch(2)
    assert_close(norm(x), slow.train(x))
    assert norm.running_mean_square.tolist() == [1, 1, 1]


def test_the_running_statistics_forget() -> None:
    norm, _ = _both(UncenteredBatchNorm1d)
    norm(batch(0))
    norm.reset_running_stats()
    assert norm.running_mean_square.tolist() == [1, 1, 1]
    assert int(norm.num_batches_tracked) == 0
    assert norm.weight.tolist() == WEIGHT
    norm(batch(0))
    norm.reset_parameters()
    assert norm.running_mean_square.tolist() == norm.weight.tolist() == [1, 1, 1]


def test_a_channel_of_zeros_stays_zero() -> None:
    norm = UncenteredBatchNorm1d(1)
    x = torch.zeros(4, 1, requires_grad=True)
    norm(x).sum().backward()
    assert not norm(x).any()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_an_empty_batch_leaves_the_running_statistics() -> None:
    norm = UncenteredBatchNorm2d(3)
    assert norm(torch.zeros(0, 3, 4, 4)).shape == (0, 3, 4, 4)
    assert norm.running_mean_square is not None
    assert norm.running_mean_square.tolist() == [1, 1, 1]
    assert norm.eval()(torch.zeros(0, 3, 4, 4)).shape == (0, 3, 4, 4)


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"track_running_stats": False}])
@pytest.mark.parametrize("training", [True, False])
def test_gradients(options: dict[str, Any], training: bool) -> None:
    norm, _ = _both(UncenteredBatchNorm1d, momentum=0.0, **options)
    x = batch(1).requires_grad_()
    assert torch.autograd.gradcheck(norm.train(training), (x,))
    assert torch.autograd.gradgradcheck(norm.train(training), (x,))


def test_the_running_statistics_carry_no_gradient() -> None:
    norm, _ = _both(UncenteredBatchNorm1d)
    norm(batch(0).requires_grad_())
    assert not norm.running_mean_square.requires_grad
