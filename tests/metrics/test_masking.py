"""Masking curves against their definition, and at their edges."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import slow_metrics
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn.data import load_fashion_mnist_samples
from captum_xdnn.metrics import masking_curve, single_deletion_score
from captum_xdnn.metrics.masking import FRACTIONS, METRICS
from captum_xdnn.models import x_cnn_small

pytest.importorskip("torchvision")


def network(channels: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 4, 5, stride=3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5)
    ).double()


def images(batch: int = 3, channels: int = 3) -> Tensor:
    return torch.rand(batch, channels, 30, 28, dtype=torch.float64)


TARGETS = torch.tensor([0, 4, 2])


@pytest.mark.parametrize("blur", ["intended", "original"])
@pytest.mark.parametrize("metric", METRICS)
def test_the_definition(metric: Any, blur: Any) -> None:
    x, net, fractions = images(), network(), (0.0, 0.01, 0.1, 0.35, 0.9, 1.0)
    attributions = torch.randn_like(x)
    net(x)
    found = masking_curve(net, x, attributions, TARGETS, metric, fractions=fractions, blur=blur)
    sigma = 41.0 * (math.sqrt(2) if blur == "original" else 1)
    slow = slow_metrics.masking_curve(net, x, attributions, TARGETS, metric, fractions, sigma)
    assert_close(found.per_example, torch.tensor(slow, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    factor = 100 if metric.endswith("AM") else 1
    means = [factor * sum(column) / 3 for column in zip(*slow, strict=True)]
    assert found.area == pytest.approx(slow_metrics.trapezoid(fractions, means), rel=1e-9)


def test_the_papers_fractions() -> None:
    assert len(FRACTIONS) == 16
    assert FRACTIONS[0] == pytest.approx(0.01)
    assert FRACTIONS[-1] == 1
    ratios = [b / a for a, b in pairwise(FRACTIONS)]
    assert max(ratios) == pytest.approx(min(ratios))


@pytest.mark.parametrize("metric", METRICS)
def test_batches_make_no_difference(metric: Any) -> None:
    x, net = images(), network()
    attributions = torch.randn(3, 1, 30, 28)
    whole = masking_curve(net, x, attributions, TARGETS, metric)
    for size in (1, 2, 5):
        parts = masking_curve(net, x, attributions, TARGETS, metric, batch_size=size)
        assert_close(parts.per_example, whole.per_example, rtol=1e-12, atol=1e-12)
    one = masking_curve(net, x, attributions, 4, metric, batch_size=2)
    same = masking_curve(net, x, attributions, torch.full((3,), 4), metric)
    assert_close(one.per_example, same.per_example, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("metric", ["KPM", "KAM"])
def test_targets_in_captums_forms(metric: Any) -> None:
    x, net = images(), network()
    attributions = torch.randn(3, 1, 30, 28)
    found = masking_curve(net, x, attributions, TARGETS, metric)
    for given in (TARGETS.tolist(), [(i,) for i in TARGETS.tolist()]):
        same = masking_curve(net, x, attributions, given, metric, batch_size=2)
        assert_close(same.per_example, found.per_example, rtol=1e-12, atol=1e-12)


def test_what_is_not_positive_is_always_blurred() -> None:
    x = images(1)
    seen: list[Tensor] = []

    def function(given: Tensor) -> Tensor:
        seen.append(given)
        return given.flatten(1)

    def black(given: Tensor) -> Tensor:
        return torch.zeros_like(given)

    attributions = torch.zeros(1, 1, 30, 28)
    attributions[..., 0, :2] = torch.tensor([2.0, 1.0])
    attributions[..., 1, 1] = -5
    for metric, expected in (("KPM", [0, 1, 2]), ("RPM", [0, 1, 2]), ("KNM", [0, 1, 1])):
        seen.clear()
        masking_curve(function, x, attributions, 0, metric, fractions=(0, 1 / 840, 1), blur=black)
        assert [int((s[0, 0] != 0).sum()) for s in seen] == expected
    seen.clear()
    masking_curve(function, x, attributions, 0, "RPM", fractions=(1 / 840,), blur=black)
    assert seen[0][0, 0, 0, 1] != 0  # the smaller of the two stays
    assert seen[0][0, 0, 0, 0] == 0


def test_a_network_on_real_images() -> None:
    pictures, labels, _ = load_fashion_mnist_samples()
    net = x_cnn_small(weights="DEFAULT").eval()
    x = pictures.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(x).gather(1, labels[:, None]).sum(), x)
    exact, noise = gradient * pictures, torch.randn_like(pictures)
    for metric, better in (("KPM", 1), ("KNM", -1), ("KAM", 1)):
        areas = [
            masking_curve(net, pictures, a, labels, metric, blur=torch.zeros_like).area
            for a in (exact, noise)
        ]
        assert better * areas[0] > better * areas[1]


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "metric": ({"metric": "KXM"}, ValueError, "KPM, KNM"),
    "attributions": ({"attributions": torch.ones(2, 3, 30, 28)}, ValueError, "like them"),
    "rows": ({"inputs": torch.ones(3, 5), "attributions": torch.ones(3, 5)}, ValueError, "like them"),
    "no tensor": ({"inputs": [1]}, AssertionError, "inputs must be"),
    "fractions": ({"fractions": (0.5, 0.2)}, ValueError, "ascend"),
    "a fraction above 1": ({"fractions": (0.5, 2)}, ValueError, "ascend"),
    "no fractions": ({"fractions": ()}, ValueError, "ascend"),
    "blur": ({"blur": "strong"}, ValueError, "intended, original"),
    "batch_size": ({"batch_size": 0}, ValueError, "batch_size"),
    "blurred shape": ({"blur": lambda x: x[:1]}, ValueError, r"gave \(1, 3, 30, 28\)"),
    "a fraction that is no number": ({"fractions": (torch.nan,)}, ValueError, "ascend"),
    "two inputs": ({"inputs": (images(), images())}, AssertionError, "one tensor, found 2"),
    "no order": ({"attributions": torch.full((3, 1, 30, 28), torch.nan)}, ValueError, "NaN"),
    "no target": ({"target": None}, AssertionError, "Target not provided"),
    "no class": ({"target": 99999}, IndexError, "99999"),
    "targets": ({"target": torch.tensor([0, 1])}, AssertionError, "not valid"),
    "KAM of rows": ({"metric": "KAM", "target": (0, 1)}, AssertionError, "Cannot choose"),
    "KAM of columns": ({"metric": "KAM", "target": TARGETS[:, None]}, AssertionError, "not valid"),
    "KAM of no class": ({"metric": "KAM", "target": 99999}, IndexError, "99999"),
    "KAM of a fraction": ({"metric": "KAM", "target": 1.5}, AssertionError, "not valid"),
    "small": (
        {"inputs": torch.ones(3, 1, 25, 40), "attributions": torch.ones(3, 1, 25, 40)},
        ValueError,
        "too small",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls(name: str) -> None:
    call, kind, said = WRONG[name]
    x = images()
    given = {"inputs": x, "attributions": x, "target": 0, "metric": "KPM", **call}
    with pytest.raises(kind, match=said):
        masking_curve(lambda given: given.flatten(1), **given)


@pytest.mark.parametrize("metric", ["KPM", "KAM"])
def test_outputs_of_other_examples_than_the_images(metric: Any) -> None:
    x = images()
    with pytest.raises(AssertionError, match="gave 1 outputs for 3 images"):
        masking_curve(lambda x: x[:1].flatten(1), x, x, 0, metric)
    with pytest.raises(AssertionError, match="gave 1 outputs for 3 images"):
        single_deletion_score(lambda x: x[:1].flatten(1), x, x, 0)


def test_a_tuple_of_one_tensor_is_that_tensor() -> None:
    net, x = network(), images()
    given: Any = (x,)
    curves = [masking_curve(net, i, i, 0, "KPM", blur=torch.zeros_like) for i in (x, given)]
    assert torch.equal(curves[0].per_example, curves[1].per_example)
