"""Every form of a call on the hoisted route has Captum's answer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import torch
from bias_free_networks import rows
from captum.attr import IntegratedGradients
from captum.attr._utils.approximation_methods import SUPPORTED_METHODS
from captum_parity import gap
from hoisted_examples import example_of
from hoisted_networks import gelu_mlp
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients
from captum_xdnn.routes.repeated_head import Crossing
from captum_xdnn.routes.request import Call

pytestmark = pytest.mark.usefixtures("always_hoisted")

CLOSE = 1e-7
STEPS = 5


def assert_captums(
    function: Callable[..., Any],
    inputs: Any,
    *,
    settings: dict[str, Any] | None = None,
    **call: Any,
) -> None:
    """The same call here, hoisted, and in Captum."""
    call = {"n_steps": STEPS, **call}
    xig = XIntegratedGradients(function, **(settings or {}))
    found = xig.attribute(inputs, **call)
    expected = IntegratedGradients(function, **(settings or {})).attribute(inputs, **call)
    assert xig.last_route == "hoisted"
    assert isinstance(found, tuple) == isinstance(expected, tuple)
    if isinstance(found, Tensor):
        found, expected = (found,), (expected,)
    for mine, captums in zip(found, expected, strict=True):
        assert (mine.shape, mine.dtype) == (captums.shape, captums.dtype)
    assert gap(found, expected) <= CLOSE


@contextmanager
def batches_of_the_head() -> Iterator[list[int]]:
    """How many rows each pass through the head has."""
    seen: list[int] = []
    passed = Crossing._cotangents

    def noted(self: Crossing, points: Any, call: Call) -> list[Tensor]:
        seen.append(len(points) * call.size)
        return passed(self, points, call)

    with mock.patch.object(Crossing, "_cotangents", noted):
        yield seen


@pytest.mark.parametrize("method", SUPPORTED_METHODS)
@pytest.mark.parametrize("name", ["biased, GELU", "softmax", "degree 2, tanh", "several degrees"])
def test_every_method(method: str, name: str) -> None:
    example = example_of(name)
    for n_steps in (2, 9):
        assert_captums(example.function, example.inputs, method=method, n_steps=n_steps, target=1)


@pytest.mark.parametrize("name", ["degree 1/2, softmax", "degree 1/2, tanh", "unit length"])
@pytest.mark.parametrize("method", SUPPORTED_METHODS)
def test_a_trunk_with_a_singular_start(method: str, name: str) -> None:
    """At the baseline itself the real function is asked: its gradient may be infinite or none."""
    example = example_of(name)
    expected = IntegratedGradients(example.function).attribute(
        example.inputs, target=1, n_steps=6, method=method
    )
    xig = XIntegratedGradients(example.function)
    found = xig.attribute(example.inputs, target=1, n_steps=6, method=method)
    if method in ("riemann_left", "riemann_trapezoid"):
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9, equal_nan=True)
    else:
        assert xig.last_route == "hoisted"
        assert gap(found, expected) <= CLOSE


@pytest.mark.parametrize("bound", [1, 3, 4, 7, 12, 1000])
@pytest.mark.parametrize("name", ["biased", "attention", "two inputs", "distances"])
def test_no_pass_through_the_head_exceeds_the_internal_batch_size(bound: int, name: str) -> None:
    if name == "biased":
        function, inputs = gelu_mlp(), (rows(4),)
    else:
        example = example_of(name)
        function, inputs = example.function, example.inputs
    xig = XIntegratedGradients(function)
    for _ in range(2):  # the first call rehearses
        with batches_of_the_head() as seen, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Captum's about a bound below the batch
            found = xig.attribute(inputs, target=1, n_steps=STEPS, internal_batch_size=bound)
            expected = IntegratedGradients(function).attribute(
                inputs, target=1, n_steps=STEPS, internal_batch_size=bound
            )
        assert xig.last_route == "hoisted"
        assert gap(found, expected) <= CLOSE
        assert seen
        assert max(seen) <= max(bound, len(inputs[0]))  # as Captum's passes


def test_without_a_bound_the_steps_share_two_passes_where_the_cut_is_wider_than_the_input() -> None:
    function, x = gelu_mlp(), rows(4)
    XIntegratedGradients(function).attribute(x, target=1, n_steps=STEPS)
    with batches_of_the_head() as seen:
        XIntegratedGradients(function).attribute(x, target=1, n_steps=STEPS)
    assert sorted(set(seen)) == sorted({4 * 2, 4 * 3})  # five steps in two parts


def test_what_goes_through_the_head_together_on_a_cpu_fits_its_cache() -> None:
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(8, 2048), nn.GELU(), nn.Linear(2048, 64), nn.Tanh()).double()
    x = torch.randn(16, 8, dtype=torch.float64)  # 256 KiB at the cut a step
    xig = XIntegratedGradients(wide)
    xig.attribute(x, target=1)
    with batches_of_the_head() as seen:
        found = xig.attribute(x, target=1)
    assert xig.last_route == "hoisted"
    assert max(seen) == 16 * 8  # 2 MiB
    assert gap((found,), (IntegratedGradients(wide).attribute(x, target=1),)) <= CLOSE


@pytest.mark.parametrize("multiply_by_inputs", [True, False])
@pytest.mark.parametrize("bound", [None, 8])
def test_multiply_by_inputs(multiply_by_inputs: bool, bound: int | None) -> None:
    settings = {"multiply_by_inputs": multiply_by_inputs}
    for name in ("biased, GELU", "two inputs", "degree 2, tanh"):
        example = example_of(name)
        assert_captums(
            example.function, example.inputs, settings=settings, target=1, internal_batch_size=bound
        )


@pytest.mark.parametrize("name", ["biased, Tanh", "cross_entropy", "two inputs", "encoder"])
def test_convergence_delta(name: str) -> None:
    example = example_of(name)
    call = {**example.call, "n_steps": STEPS, "return_convergence_delta": True}
    xig = XIntegratedGradients(example.function)
    found, delta = xig.attribute(example.inputs, **call)
    expected, theirs = IntegratedGradients(example.function).attribute(example.inputs, **call)
    assert xig.last_route == "hoisted"
    assert gap(found, expected) <= CLOSE
    torch.testing.assert_close(delta, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_changing_batch_sizes(batch: int) -> None:
    function = gelu_mlp()
    for size in (4, batch, 5, 1):
        assert_captums(function, rows(size), target=1)
        assert_captums(function, rows(size), target=1, internal_batch_size=2 * size + 1)


BASELINES: dict[str, Callable[[], Any]] = {
    "zero": lambda: 0,
    "number": lambda: 0.75,
    "integer": lambda: 2,
    "tensor": lambda: rows(),
    "zeros": lambda: torch.zeros(4, 6, dtype=torch.float64),
    "one example": lambda: rows(1),
    "tuple": lambda: (rows(1),),
    "the input but for an entry": lambda: None,
}


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("method", ["gausslegendre", "riemann_trapezoid"])
def test_baselines(name: str, method: str) -> None:
    function, x = gelu_mlp(), rows()
    baseline = BASELINES[name]()
    if baseline is None:
        baseline = x.clone()
        baseline[:, 0] += 1
    inputs = (x,) if isinstance(baseline, tuple) else x
    assert_captums(function, inputs, baselines=baseline, target=1, method=method)
    assert_captums(function, inputs, baselines=baseline, target=1, internal_batch_size=9)


class Folded(nn.Module):
    """Three dimensions of outputs: a target is a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.net = gelu_mlp()

    def forward(self, x: Tensor) -> Tensor:
        y = self.net(x)
        return y[:, :, None] * y[:, None, :]


TARGETS: dict[str, tuple[type[nn.Module] | None, Any]] = {
    "number": (None, 2),
    "negative": (None, -1),
    "0-d tensor": (None, torch.tensor(1)),
    "one-element tensor": (None, torch.tensor([2])),
    "tensor": (None, torch.tensor([0, 2, 1, 0])),
    "list": (None, [0, 2, 1, 1]),
    "tuple": (None, (1,)),
    "pair": (Folded, (1, 2)),
    "pairs": (Folded, [(0, 0), (1, 2), (2, 1), (1, 1)]),
}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("bound", [None, 3, 4, 9])
def test_targets(name: str, bound: int | None) -> None:
    build, target = TARGETS[name]
    function = gelu_mlp() if build is None else build()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_captums(function, rows(), target=target, internal_batch_size=bound)


@pytest.mark.parametrize("bound", [None, 5])
def test_no_target(bound: int | None) -> None:
    net = gelu_mlp()
    for function in (lambda x: net(x)[:, 0], lambda x: net(x)[:, :1]):
        assert_captums(function, rows(), internal_batch_size=bound)
