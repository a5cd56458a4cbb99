"""Differences, rank correlations, single deletion, convergence and contrast."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import slow_metrics
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn.data import load_fashion_mnist_samples
from captum_xdnn.metrics import (
    attribution_difference,
    contrast_invariance,
    convergence,
    rank_correlation,
    single_deletion_score,
)
from captum_xdnn.models import x_cnn_small


def perceptron(*, bias: bool) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 32, bias=bias), nn.ReLU(), nn.Linear(32, 3, bias=bias)
    ).double()


def test_the_difference_is_the_papers_for_each_example() -> None:
    ours, theirs = torch.randn(4, 2, 3), torch.randn(4, 2, 3)
    found = attribution_difference(ours, theirs)
    for n in range(4):
        gap = (ours[n] - theirs[n]).abs().mean() / theirs[n].abs().mean()
        assert float(found[n]) == pytest.approx(float(gap), rel=1e-6)
    several = attribution_difference((ours, ours[:, 0]), (theirs, theirs[:, 0]))
    flat = [torch.cat([t.flatten(1), t[:, 0]], 1) for t in (ours, theirs)]
    assert_close(several, attribution_difference(*flat))


def test_a_reference_of_zero() -> None:
    zero = torch.zeros(2, 3)
    found = attribution_difference(torch.tensor([[0.0, 0, 0], [0, 1, 0]]), zero)
    assert found.tolist() == [0, float("inf")]


@pytest.mark.parametrize("ties", [False, True])
def test_rank_correlation(ties: bool) -> None:
    ours, theirs = torch.randn(5, 12), torch.randn(5, 12)
    if ties:
        ours, theirs = ours.round(), (2 * theirs).round() / 2
    found = rank_correlation(ours, theirs)
    for mine, one, other in zip(found.tolist(), ours.tolist(), theirs.tolist(), strict=True):
        assert mine == pytest.approx(slow_metrics.rank_correlation(one, other), abs=1e-12)
    assert rank_correlation(torch.ones(1, 3), theirs[:1, :3]).isnan().all()
    ours[0, 3] = torch.nan
    broken = rank_correlation(ours, theirs)
    assert broken[0].isnan()
    assert torch.equal(broken[1:], found[1:])


@pytest.mark.parametrize("patches", [2, 4])
def test_single_deletion(patches: int) -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(180, 4)).double()
    x = torch.randn(3, 2, 12, 8, dtype=torch.float64)
    attributions, labels = torch.randn_like(x), torch.tensor([0, 3, 1])
    found = single_deletion_score(net, x, attributions, labels, patches=patches)
    for n in range(3):
        slow = slow_metrics.single_deletion(net, x[n], attributions[n], labels[n], patches)
        assert float(found[n]) == pytest.approx(slow, abs=1e-9)


def test_the_attribution_of_a_linear_function_orders_its_patches() -> None:
    weights = torch.randn(1, 9, 7, dtype=torch.float64)
    x = torch.randn(2, 1, 9, 7, dtype=torch.float64)
    scores = single_deletion_score(lambda x: (x * weights).sum((1, 2, 3)), x, x * weights, None)
    assert_close(scores, torch.ones(2, dtype=torch.float64))


def test_convergence_of_a_network_with_biases() -> None:
    net, x = perceptron(bias=True), torch.randn(4, 6, dtype=torch.float64)
    found = convergence(net, x, target=1, steps=(1, 8, 64), reference_steps=200)
    captum = IntegratedGradients(net)
    reference = captum.attribute(x, target=1, n_steps=200)
    for place, steps in enumerate((1, 8, 64)):
        theirs = attribution_difference(captum.attribute(x, target=1, n_steps=steps), reference)
        assert_close(found.per_example[:, place], theirs)
    assert found.values[0] > 10 * found.values[2]


def test_captum_converges_to_the_single_pass() -> None:
    net, x = perceptron(bias=False), torch.randn(4, 6, dtype=torch.float64)
    found = convergence(net, (x,), target=1, steps=(4,))
    assert found.route == "single_pass"
    assert found.ours.max() < 1e-6  # Captum's weights are float32


def test_contrast() -> None:
    images, labels, _ = load_fashion_mnist_samples()
    plain = contrast_invariance(x_cnn_small(weights="DEFAULT").eval(), images, labels)
    assert plain.contrasts == tuple(i / 10 for i in range(10, 0, -1))
    assert (plain.unchanged == 1).all()
    twin = x_cnn_small(weights="FASHION_MNIST_BIAS", bias=True).eval()
    biased = contrast_invariance(twin, images, labels, batch_size=3)
    assert biased.unchanged[0] == 1
    assert biased.unchanged[-1] < 1
    expected = (twin(0.1 * images).argmax(1) == labels).double().mean()
    assert biased.accuracy[-1] == expected
    with pytest.raises(ValueError, match="labels"):
        _ = contrast_invariance(twin, images).accuracy


ONES, IMAGES = torch.ones(2, 3), torch.ones(2, 1, 8, 8)
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "shapes": (lambda: attribution_difference(ONES, torch.ones(3, 2)), ValueError, "shapes"),
    "as many, other shapes": (
        lambda: rank_correlation(torch.ones(2, 6), torch.ones(2, 2, 3)),
        ValueError,
        "shapes",
    ),
    "no tensor": (lambda: attribution_difference([1.0], ONES), AssertionError, "attributions"),
    "no steps": (lambda: convergence(lambda x: x, ONES, target=0, steps=()), ValueError, "steps"),
    "contrast": (lambda: contrast_invariance(lambda x: x, ONES, None, (1, 0)), ValueError, "positive"),
    "half a step": (
        lambda: convergence(lambda x: x, ONES, target=0, steps=(1.5,)),  # type: ignore[arg-type]
        TypeError,
        "integer",
    ),
    "no contrast": (
        lambda: contrast_invariance(lambda x: x, ONES, None, (1, math.nan)),
        ValueError,
        "positive",
    ),
    "an array of labels": (
        lambda: contrast_invariance(lambda x: x, ONES, ONES[:, 0].numpy()),  # type: ignore[arg-type]
        ValueError,
        "must be a tensor",
    ),
    "scores of some": (
        lambda: contrast_invariance(lambda x: x[:1], ONES),
        ValueError,
        r"found \(1, 3\) for 2 inputs",
    ),
    "two inputs": (
        lambda: contrast_invariance(lambda x: x, (ONES, ONES)),  # type: ignore[arg-type]
        AssertionError,
        "one tensor, found 2",
    ),
    "labels": (
        lambda: contrast_invariance(lambda x: x, ONES, torch.ones(3)),
        ValueError,
        "labels of shape",
    ),
    "labels of another kind": (
        lambda: contrast_invariance(lambda x: x, ONES, [1, 2]),
        ValueError,
        r"labels of \[1, 2\]",
    ),
    "one score": (
        lambda: contrast_invariance(lambda x: x.sum(1), ONES),
        ValueError,
        r"scores of shape \(B, C\), found \(2,\)",
    ),
    "a pass of none": (
        lambda: contrast_invariance(lambda x: x, ONES, batch_size=0),
        ValueError,
        "batch_size",
    ),
    "other images": (
        lambda: single_deletion_score(torch.sum, IMAGES, torch.ones(1, 1, 8, 8), 0),
        ValueError,
        "like them",
    ),
    "no target": (
        lambda: single_deletion_score(lambda x: x.flatten(1), IMAGES, IMAGES, None),
        AssertionError,
        "Target not provided",
    ),
    "rows": (lambda: single_deletion_score(lambda x: x, ONES, ONES, 0), ValueError, "like them"),
    "patches": (
        lambda: single_deletion_score(
            lambda x: x, torch.ones(1, 1, 3, 9), torch.ones(1, 1, 3, 9), 0, patches=4
        ),
        ValueError,
        "4 x 4 patches",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls(name: str) -> None:
    call, kind, said = WRONG[name]
    with pytest.raises(kind, match=said):
        call()


def test_a_correlation_is_none_above_one() -> None:
    for length in range(2, 60):
        row = torch.randn(1, length)
        assert rank_correlation(row, row) <= 1
        assert rank_correlation(row, -row) >= -1


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, iter])
def test_numbers_of_steps_in_any_form(kind: Any) -> None:
    found = convergence(lambda x: x.sum(1).exp(), ONES, steps=kind([1, 4]), reference_steps=9)
    assert found.steps == (1, 4)
    assert found.per_example.shape == (2, 2)


def test_nothing_is_left_changed() -> None:
    x = torch.rand(2, 1, 28, 28, requires_grad=True)
    before: Tensor = x.detach().clone()
    net = x_cnn_small()
    single_deletion_score(net, x, x, 0)
    contrast_invariance(net, x)
    assert x.grad is None
    assert torch.equal(x.detach(), before)
    assert all(p.grad is None for p in net.parameters())
