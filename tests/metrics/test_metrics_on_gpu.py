"""On a CUDA device the metrics and a comparison give what they give on a CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn.compare import compare
from captum_xdnn.metrics import contrast_invariance, masking_curve, single_deletion_score
from captum_xdnn.metrics.masking import METRICS

pytestmark = pytest.mark.gpu
TARGETS = torch.tensor([0, 4, 2])


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 5, stride=3, bias=False), nn.ReLU(), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(288, 5, bias=False)).double()


def images() -> Tensor:
    return torch.rand(3, 3, 30, 28, dtype=torch.float64)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("target", [TARGETS, 4, TARGETS.tolist(), torch.tensor([4])])
def test_masking_curves(metric: Any, target: Any) -> None:
    x, attributions = images(), torch.randn(3, 3, 30, 28, dtype=torch.float64)
    there = target.cuda() if isinstance(target, Tensor) else target
    expected = masking_curve(network(), x, attributions, target, metric)
    # Attributions and target may be elsewhere.
    for given in ((attributions.cuda(), there), (attributions, target)):
        found = masking_curve(network().cuda(), x.cuda(), *given, metric, batch_size=2)
        assert found.per_example.is_cuda
        assert_close(found.per_example.cpu(), expected.per_example, rtol=1e-9, atol=1e-9)
        assert found.area == pytest.approx(expected.area, rel=1e-9)


def test_single_deletion_and_contrast() -> None:
    x, attributions = images(), torch.randn(3, 1, 30, 28, dtype=torch.float64)
    net, there = network(), network().cuda()
    found = single_deletion_score(there, x.cuda(), attributions.cuda(), TARGETS.cuda())
    assert_close(found.cpu(), single_deletion_score(net, x, attributions, TARGETS))
    contrast = contrast_invariance(there, x.cuda(), TARGETS)
    assert torch.equal(contrast.predictions.cpu(), contrast_invariance(net, x).predictions)
    assert contrast.accuracy.shape == contrast.unchanged.shape


def test_a_comparison() -> None:
    net, x = network().cuda(), images().cuda()
    state = torch.cuda.get_rng_state()
    methods = ("XIntegratedGradients", "IG(8)", "GradientShap")
    found = compare(net, x, TARGETS.cuda(), methods=methods, rounds=1, perturbations=2)
    assert not any(row.failure for row in found.rows)
    assert all(row.memory > 0 and row.seconds > 0 for row in found.rows)
    assert found["XIntegratedGradients"].route == "single_pass"
    assert torch.equal(torch.cuda.get_rng_state(), state)
    found.plot().canvas.draw()
