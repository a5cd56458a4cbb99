"""Uncentred batch norm as a module of torch: inputs, dtypes, state, certificate."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients
from slow_batch_norm import SlowBatchNorm, batch
from torch import nn
from torch.testing import assert_close

from captum_xdnn import XIntegratedGradients, certify
from captum_xdnn.nn import (
    UncenteredBatchNorm,
    UncenteredBatchNorm1d,
    UncenteredBatchNorm2d,
    UncenteredBatchNorm3d,
)

KINDS = {
    UncenteredBatchNorm1d: nn.BatchNorm1d,
    UncenteredBatchNorm2d: nn.BatchNorm2d,
    UncenteredBatchNorm3d: nn.BatchNorm3d,
}
HALVES = {torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}


def _used(**options: Any) -> UncenteredBatchNorm2d:
    norm = UncenteredBatchNorm2d(3, **options)
    if norm.weight is not None:
        nn.init.normal_(norm.weight)
    norm(batch(2).to(options.get("dtype", torch.float32)))
    return norm


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [True, False])
def test_it_refuses_the_dimensions_that_torchs_refuses(
    kind: type[UncenteredBatchNorm], training: bool
) -> None:
    norm, theirs = kind(3).train(training), KINDS[kind](3).train(training)
    for dimensions in range(1, 7):
        x = torch.randn((2, 3, 4, 4, 4, 4)[:dimensions])
        try:
            expected = theirs(x).shape
        except ValueError:
            with pytest.raises(ValueError, match="expected an input of"):
                norm(x)
        else:
            assert norm(x).shape == expected


@pytest.mark.parametrize("kind", [*KINDS, UncenteredBatchNorm])
def test_another_number_of_channels(kind: type[UncenteredBatchNorm]) -> None:
    x = torch.randn((2, 4, 3, 3, 3)[: kind.dimensions[0] if kind.dimensions else 3])
    for training in (True, False):
        with pytest.raises(ValueError, match=r"shape \(B, 3, \.\.\.\), got \(2, 4"):
            kind(3).train(training)(x)


def test_a_vector_is_no_batch() -> None:
    with pytest.raises(ValueError, match=r"got \(3,\)"):
        UncenteredBatchNorm(3)(torch.randn(3))


@pytest.mark.parametrize("tracked", [True, False])
def test_one_value_per_channel_is_refused_in_training_as_by_torchs(tracked: bool) -> None:
    x = torch.randn(1, 3, 1, 1)
    theirs = nn.BatchNorm2d(3, track_running_stats=tracked)
    norm = UncenteredBatchNorm2d(3, track_running_stats=tracked)
    for refusing in (theirs, norm):
        with pytest.raises(ValueError, match="more than 1 value per channel when training"):
            refusing(x)
    assert norm.eval()(x).shape == x.shape


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("parameters", ["single", "half"])
@pytest.mark.parametrize("training", [True, False])
def test_half_precision_is_rounded_once(dtype: Any, parameters: str, training: bool) -> None:
    norm = UncenteredBatchNorm2d(3, dtype=dtype if parameters == "half" else None)
    x = (10 * batch(2)).to(dtype)  # squares up to 10^6, beyond those of float16
    slow = SlowBatchNorm(3)
    y = norm.train(training)(x)
    expected = slow.train(x) if training else slow.evaluate(x)
    assert y.dtype == dtype
    assert_close(y.double(), expected, rtol=HALVES[dtype], atol=1e-6)


@pytest.mark.parametrize("dtype", HALVES)
def test_autocast(dtype: torch.dtype) -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), UncenteredBatchNorm2d(3))
    x = batch(2).float()
    with torch.autocast("cpu", dtype):
        y = network(x)
    assert y.dtype == dtype
    assert network[1].running_mean_square.dtype == torch.float32
    fresh = nn.Sequential(network[0], UncenteredBatchNorm2d(3))
    assert_close(y.float(), fresh(x), rtol=4 * HALVES[dtype], atol=4 * HALVES[dtype])


def test_channels_last() -> None:
    x = batch(2)
    norm = _used(dtype=torch.float64).eval()
    strided = x.to(memory_format=torch.channels_last)
    assert_close(norm(strided), norm(x), rtol=0, atol=0)
    assert norm(strided).is_contiguous(memory_format=torch.channels_last)
    assert_close(norm.train()(strided), norm.train()(x))


def test_whole_numbers_become_floating() -> None:
    norm = UncenteredBatchNorm1d(3)
    x = torch.tensor([[1, 2, 3], [4, 5, 6]])
    assert_close(norm(x), norm(x.float()))


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"track_running_stats": False}])
def test_state_dict_copy_and_pickle(options: dict[str, Any]) -> None:
    norm, x = _used(**options), batch(2).float()
    expected = norm.eval()(x)
    loaded = UncenteredBatchNorm2d(3, **options).eval()
    loaded.load_state_dict(norm.state_dict())
    for other in (loaded, copy.deepcopy(norm), pickle.loads(pickle.dumps(norm))):
        assert_close(other(x), expected, rtol=0, atol=0)
        assert repr(other) == repr(norm)


def test_the_names_in_the_state_dict() -> None:
    assert list(UncenteredBatchNorm2d(3).state_dict()) == [
        "weight",
        "running_mean_square",
        "num_batches_tracked",
    ]


def test_it_shows_its_arguments_as_torchs_does() -> None:
    ours = repr(UncenteredBatchNorm2d(3, eps=0.1, momentum=None, affine=False))
    theirs = repr(nn.BatchNorm2d(3, eps=0.1, momentum=None, affine=False))
    assert theirs.replace(", bias=False", "") == ours.replace("UncenteredBatch", "Batch")


def test_the_conversion_to_synchronised_batch_norm_passes_it_over() -> None:
    network = nn.Sequential(UncenteredBatchNorm2d(3), nn.BatchNorm2d(3))
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    assert [type(m) for m in converted] == [UncenteredBatchNorm2d, nn.SyncBatchNorm]


def test_the_running_statistics_are_estimated_anew_as_documented() -> None:
    norm = _used(dtype=torch.float64)
    norm.reset_running_stats()
    norm.momentum = None
    slow = SlowBatchNorm(3, momentum=None)
    for _ in range(3):
        x = batch(2)
        norm(x)
        slow.train(x)
    assert norm.running_mean_square is not None
    assert_close(norm.running_mean_square.tolist(), slow.running)


@pytest.mark.parametrize("options", [{}, {"affine": False}])
def test_certified_in_evaluation_mode(options: dict[str, Any]) -> None:
    certificate = certify(_used(**options).eval(), torch.zeros(2, 3, 4, 4))
    assert certificate.degree == 1
    assert not certificate.affine
    assert not certificate.relied


def test_refused_in_training_mode_and_without_running_statistics() -> None:
    for norm in (_used(), UncenteredBatchNorm2d(3, track_running_stats=False).eval()):
        assert not certify(norm, torch.zeros(2, 3, 4, 4)).homogeneous


def test_a_single_pass_equals_captums_integral() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        UncenteredBatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(5, bias=False),
        UncenteredBatchNorm1d(5),
    ).double()
    network(torch.randn(9, 3, 5, 5, dtype=torch.float64))
    network.eval()
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    xig = XIntegratedGradients(network, strategy="single_pass")
    theirs = IntegratedGradients(network).attribute(x, target=1)
    assert_close(xig.attribute(x, target=1), theirs)
    assert xig.last_route == "single_pass"
