"""The guard's slack: no false alarm on real rounding, with room, and no blindness.

``python -m pytest tests/attr/test_guard.py -n 0 -s`` prints the largest gap that was measured.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from captum_xdnn.attr.call import Call
from captum_xdnn.attr.guard import SLACK, gap_exceeds
from captum_xdnn.attr.single_pass import Pass
from captum_xdnn.attr.single_pass import single_pass as run

ROOM = 4
"""How many times larger the slack is, at least, than any gap measured here."""


class Residual(nn.Module):
    """A branch of two convolutions beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + 0.3 * self.branch(x))


def _residual(depth: int, width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, width, 3, bias=False),
        *(Residual(width) for _ in range(depth)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 10, bias=False),
    )


def _plain(depth: int, width: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(3 * 16 * 16, width, bias=False)]
    for _ in range(depth):
        layers += [nn.ReLU(), nn.Linear(width, width, bias=False)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Linear(width, 10, bias=False))


NETWORKS = {
    "residual 4": lambda: _residual(4, 16),
    "residual 25": lambda: _residual(25, 8),
    "plain 2": lambda: _plain(2, 64),
    "plain 20": lambda: _plain(20, 64),
    "wide": lambda: _plain(1, 2048),
}
INPUTS = {
    "normal": lambda: torch.randn(16, 3, 16, 16),
    "tiny": lambda: 1e-3 * torch.randn(16, 3, 16, 16),
    "large": lambda: 1e3 * torch.randn(16, 3, 16, 16),
    "nearly zero": lambda: torch.randn(16, 3, 16, 16) * (torch.rand(16, 3, 16, 16) < 0.01),
    "image-like": lambda: torch.rand(16, 3, 16, 16),
}
DTYPES = (torch.float32, torch.bfloat16, torch.float64)


def _gap(model: nn.Module, inputs: Tensor) -> float:
    """The largest gap of any example and target, in units of rounding of its scale."""
    worst = 0.0
    for target in range(3):
        done: Pass = run(model, Call((inputs,), (0,), target, ()), Fraction(1), create_graph=False)
        products = (done.mean_gradients[0] * inputs).flatten(1)
        outputs = done.outputs.to(products.dtype)
        scale = products.abs().sum(1) + outputs.abs()
        gaps = (products.sum(1) - outputs).abs() / (scale * torch.finfo(inputs.dtype).eps)
        worst = max(worst, float(gaps.nan_to_num().max()))
        assert not gap_exceeds(
            (done.mean_gradients[0] * inputs,), done.outputs, None, torch.finfo(inputs.dtype).eps
        )
    return worst


@pytest.mark.parametrize("name", list(NETWORKS))
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rounding_stays_far_below_the_slack(name: str, dtype: torch.dtype) -> None:
    model = NETWORKS[name]().to(dtype).eval()
    gaps = {kind: _gap(model, make().to(dtype)) for kind, make in INPUTS.items()}
    worst = max(gaps.values())
    print(f"{name}, {dtype}: largest gap {worst:.2f} of {SLACK:.0f} units")
    assert worst * ROOM <= SLACK


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_gap_of_a_few_slacks_is_seen(dtype: torch.dtype) -> None:
    unit = torch.finfo(dtype).eps
    attributions = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64)
    for factor, seen in ((0.5, False), (4.0, True)):
        off = 2 * SLACK * unit * factor
        assert (
            gap_exceeds((attributions,), torch.tensor([1.0 + off], dtype=torch.float64), None, unit)
            is seen
        )


def test_one_example_among_many_is_seen() -> None:
    attributions = torch.rand(32, 5, dtype=torch.float64)
    outputs = attributions.sum(1)
    assert not gap_exceeds((attributions,), outputs, None, 1e-16)
    outputs[17] += 1e-3
    assert gap_exceeds((attributions,), outputs, None, 1e-16)


def test_a_start_that_is_not_zero_counts() -> None:
    attributions = torch.rand(3, 5, dtype=torch.float64)
    start = torch.full((3,), 2.0, dtype=torch.float64)
    outputs = attributions.sum(1) + start
    assert not gap_exceeds((attributions,), outputs, start, 1e-15)
    assert gap_exceeds((attributions,), outputs, None, 1e-15)


def test_a_number_that_is_none_is_a_gap() -> None:
    attributions = torch.tensor([[float("nan")]])
    assert gap_exceeds((attributions,), torch.zeros(1), None, 1.0)
