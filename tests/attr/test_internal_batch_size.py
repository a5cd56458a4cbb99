"""The batch of the single pass: bounded by ``internal_batch_size``, and passed once."""

from __future__ import annotations

from typing import Any

import outside
import pytest
import torch
from bias_free_networks import Normalised, affine_output, mlp, rows
from captum.attr import IntegratedGradients
from references import path_integral
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import XIntegratedGradients
from captum_xdnn.routes import plan


# The whole batch runs once more without gradients: that its parts are its rows has to be seen.
@pytest.mark.parametrize(
    ("most", "sizes"), [(3, [2, 2, 3, 7]), (1, [*[1] * 7, 7]), (7, [7]), (100, [7])]
)
def test_internal_batch_size_bounds_the_batch_of_the_pass(most: int, sizes: list[int]) -> None:
    net, x = mlp(), rows(7)
    seen: list[int] = []

    def record(x: Tensor) -> Tensor:
        seen.append(x.shape[0])
        outside.seen.append(x.shape[0])
        return net(x)

    xig = XIntegratedGradients(record)
    xig.attribute(x, target=0, internal_batch_size=most)
    seen.clear()
    outside.seen.clear()
    ours = xig.attribute(x, target=[0, 1, 2, 0, 1, 2, 0], internal_batch_size=most)
    assert xig.last_route == "single_pass"
    assert sorted(outside.seen) == sizes
    assert sum(seen) == 7
    expected = path_integral(net, (x,), (0,), [0, 1, 2, 0, 1, 2, 0])[0]
    assert_close(ours, expected, rtol=1e-9, atol=1e-12)


class Counting(nn.Module):
    """Keeps count of its passes in a number, a buffer and a list."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.passes, self.sizes = mlp(), 0, list[int]()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        self.passes += 1
        self.sizes.append(len(x))
        return self.net(x)


def test_the_pass_that_looks_whether_rows_stay_apart_leaves_nothing() -> None:
    net = Counting()
    xig = XIntegratedGradients(net)
    for call in (1, 2, 3):
        xig.attribute(rows(6), target=0, internal_batch_size=3)
        assert xig.last_route == "single_pass"
        assert (net.passes, float(net.seen), net.sizes) == (2 * call, 2 * call, [3, 3] * call)


@pytest.mark.parametrize("build", [mlp, affine_output, Normalised])
def test_one_call_is_one_forward_pass(build: Any) -> None:
    net, x = build(), rows()
    baseline = net.mean[None] if build is Normalised else None
    seen: list[int] = []

    def record(x: Tensor) -> Tensor:
        seen.append(x.shape[0])
        return net(x)

    xig = XIntegratedGradients(record)
    xig.attribute(x, baseline, target=0)
    seen.clear()
    xig.attribute(x, baseline, target=0)
    assert seen == [4]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("route", ["single_pass", "captum"])
def test_a_batch_that_reads_its_length_is_not_divided(
    device: str, dtype: torch.dtype, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is allowed for rounding is less than the output itself, however coarse the numbers are."""
    monkeypatch.setattr(plan, "WORTH_IT", float("inf"))  # nothing is hoisted
    net = nn.Sequential(*([] if route == "single_pass" else [nn.Softplus()]), mlp())
    net, x = net.to(device, dtype), rows().to(device, dtype)

    def function(x: Tensor) -> Tensor:
        return net(x) / len(x)

    captums = IntegratedGradients(function)
    if route == "single_pass":
        xig = XIntegratedGradients(function)
        found = xig.attribute(x, target=1, internal_batch_size=2)
        expected = captums.attribute(x, target=1, internal_batch_size=4)
    else:
        xig = XIntegratedGradients(function, max_memory=400)
        found, expected = xig.attribute(x, target=1), captums.attribute(x, target=1)
    assert xig.last_route == route
    assert_close(found, expected, rtol=0.05, atol=0.05 * float(expected.abs().max()))
