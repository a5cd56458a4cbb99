"""The batch of the single pass: passed once, and divided where memory runs out."""

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


class Short(nn.Module):
    """A network for which memory runs out where more rows go through it than there is room for, up to a batch.

    It keeps count of its passes where nothing puts that back.
    """

    def __init__(self, net: Any, room: int, batch: int = 7) -> None:
        super().__init__()
        self.net, self.room, self.batch = net, room, batch

    def forward(self, x: Tensor) -> Tensor:
        outside.seen.append(len(x))
        if x.requires_grad and self.room < len(x) <= self.batch:
            raise torch.OutOfMemoryError
        found: Tensor = self.net(x)
        return found


TARGETS = [0, 1, 2, 0, 1, 2, 0]


def sizes_of_passes(room: int, bound: int | None, calls: int = 2) -> list[int]:
    """The rows of the passes of the last of some calls, whose attributions are right."""
    net, x = mlp(), rows(7)
    xig = XIntegratedGradients(Short(net, room))
    for _ in range(calls):
        outside.seen.clear()
        ours = xig.attribute(x, target=TARGETS, internal_batch_size=bound)
        assert xig.last_route == "single_pass"
        expected = path_integral(net, (x,), (0,), TARGETS)[0]
        assert_close(ours, expected, rtol=1e-9, atol=1e-12)
    return [*outside.seen]


@pytest.mark.parametrize("bound", [1, 3, 7, 100, None])
def test_a_batch_that_captum_does_not_divide_is_passed_once(bound: int | None) -> None:
    assert sizes_of_passes(7, bound) == [7]


# The whole batch is tried first, and runs once more without gradients: that its parts are its rows has to be seen.
@pytest.mark.parametrize(
    ("room", "bound", "parts"),
    [(4, 3, [2, 2, 3]), (3, 1, [1] * 7), (4, None, [3, 4]), (2, 100, [3, 1, 2, 2, 2])],
)
def test_a_batch_is_divided_where_memory_runs_out(
    room: int, bound: int | None, parts: list[int]
) -> None:
    assert sizes_of_passes(room, bound) == [7, *parts, 7]


@pytest.mark.filterwarnings("ignore:Internal batch size cannot be less")
@pytest.mark.parametrize("bound", [1, 2, 5])
@pytest.mark.parametrize("bend", [torch.tanh, torch.sigmoid, lambda z: z.softmax(1)])
def test_a_bound_below_the_batch_does_not_make_looks(bound: int, bend: Any) -> None:
    """One look at a time, at the whole call; after two, at one in sixteen."""
    layer = nn.Linear(6, 3).double()

    def function(x: Tensor) -> Tensor:
        outside.seen.append(len(x))
        return bend(layer(x).cos())

    xig, x = XIntegratedGradients(function), rows(7)[:, :6].double()
    passes = []
    for _ in range(20):
        outside.seen.clear()
        xig.attribute(x, target=1, n_steps=4, internal_batch_size=bound)
        assert xig.last_route == "captum"
        assert set(outside.seen) == {7}
        passes.append(len(outside.seen))
    assert sum(count > 4 for count in passes[2:]) <= 1
    assert max(passes) <= 4 + 2


@pytest.mark.parametrize("kind", ["rows meet", "its length", "bent"])
def test_a_call_that_could_not_be_divided_is_left_to_captum(kind: str) -> None:
    net = mlp()
    functions = {
        "rows meet": lambda x: net(x) - net(x).mean(0),
        "its length": lambda x: net(x) / len(x),
        "bent": lambda x: net(x.sin()).cos(),
    }
    function = functions[kind]
    xig, x, passes = XIntegratedGradients(Short(function, 3)), rows(7), []
    expected = IntegratedGradients(function).attribute(x, target=1, n_steps=4)
    for _ in range(12):
        outside.seen.clear()
        ours = xig.attribute(x, target=1, n_steps=4)
        assert xig.last_route == "captum"
        assert_close(ours, expected, rtol=1e-9, atol=1e-12)
        passes.append(outside.seen.count(7))
    assert sum(map(bool, passes)) <= 5


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
    xig = XIntegratedGradients(Short(net, 3, 6))
    for call in (1, 2, 3):
        xig.attribute(rows(6), target=0)
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
@pytest.mark.parametrize("divided", ["examples", "steps"])
def test_a_batch_that_reads_its_length_is_not_divided(
    device: str, dtype: torch.dtype, divided: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is allowed for rounding is less than the output itself, however coarse the numbers are."""
    monkeypatch.setattr(plan, "WORTH_IT", float("inf"))  # nothing is hoisted
    net = nn.Sequential(*([] if divided == "examples" else [nn.Softplus()]), mlp())
    net, x = net.to(device, dtype), rows().to(device, dtype)

    def function(x: Tensor) -> Tensor:
        return net(x) / len(x)

    expected = IntegratedGradients(function).attribute(x, target=1)
    if divided == "examples":
        xig = XIntegratedGradients(Short(function, 2, 4))
    else:
        xig = XIntegratedGradients(function, max_memory=400)
    found = xig.attribute(x, target=1)
    assert xig.last_route == "captum"
    assert_close(found, expected, rtol=0.05, atol=0.05 * float(expected.abs().max()))
