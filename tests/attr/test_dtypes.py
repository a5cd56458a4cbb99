"""Every dtype and memory format: the values of a float64 reference, the dtype of Captum."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bias_free_networks import TwoInputs, biased_mlp, conv_net, images, mlp, rows
from captum.attr import IntegratedGradients
from references import path_integral
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import NotHomogeneousError, XIntegratedGradients, certify
from captum_xdnn.checks.completeness import precision_of, reduced_precision_of

TOLERANCE = {torch.float16: 2e-2, torch.bfloat16: 1e-1, torch.float32: 1e-5, torch.float64: 1e-10}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("multiply_by_inputs", [True, False])
def test_floating_dtypes(dtype: torch.dtype, multiply_by_inputs: bool) -> None:
    function, x = mlp().to(dtype), rows().to(dtype)
    xig = XIntegratedGradients(function, multiply_by_inputs)
    ours, delta = xig.attribute(x, target=1, return_convergence_delta=True)
    theirs, their_delta = IntegratedGradients(function, multiply_by_inputs).attribute(
        x, target=1, n_steps=1, return_convergence_delta=True
    )
    exact = path_integral(function.double(), (x,), (0,), 1, multiply_by_inputs=multiply_by_inputs)[
        0
    ]
    assert xig.last_route == "single_pass"
    assert ours.dtype == theirs.dtype
    assert delta.dtype == their_delta.dtype
    assert_close(ours.double(), exact, rtol=0, atol=TOLERANCE[dtype] * float(exact.abs().max()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_cpu_autocast(dtype: torch.dtype) -> None:
    function, x = mlp().float(), rows().float()
    xig = XIntegratedGradients(function)
    plain = xig.attribute(x, target=1)
    with torch.autocast("cpu", dtype):
        ours = xig.attribute(x, target=1)
        theirs = IntegratedGradients(function).attribute(x, target=1, n_steps=1)
    assert xig.last_route == "single_pass"
    assert ours.dtype == theirs.dtype == torch.float32
    tolerance = TOLERANCE[dtype] * float(plain.abs().max())
    assert_close(ours, plain, rtol=0, atol=tolerance)
    assert_close(ours, theirs, rtol=0, atol=tolerance)
    assert (ours != plain).any()
    assert_close(xig.attribute(x, target=1), plain, rtol=0, atol=0)


class AutocastInside(nn.Module):
    """A model that runs in bfloat16 whatever the caller does."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp().float()

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.net(x).float()


def test_autocast_inside_the_model() -> None:
    function, x = AutocastInside(), rows().float()
    xig = XIntegratedGradients(function)
    ours = xig.attribute(x, target=1)
    exact = path_integral(function.net.double(), (x,), (0,), 1)[0]
    assert xig.last_route == "single_pass"
    assert_close(ours.double(), exact, rtol=0, atol=0.1 * float(exact.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_channels_last(dtype: torch.dtype) -> None:
    function, x = conv_net().to(dtype), images().to(dtype)
    xig = XIntegratedGradients(function)
    plain = xig.attribute(x, target=1)
    function.to(memory_format=torch.channels_last)
    strided = x.to(memory_format=torch.channels_last)
    ours = xig.attribute(strided, target=1)
    assert xig.last_route == "single_pass"
    assert ours.shape == x.shape
    assert_close(ours, plain, rtol=1e-4, atol=TOLERANCE[dtype])
    assert strided.is_contiguous(memory_format=torch.channels_last)


LAYOUTS = {
    "transposed": lambda: torch.randn(6, 4, dtype=torch.float64).t(),
    "expanded": lambda: torch.randn(1, 6, dtype=torch.float64).expand(4, 6),
    "sliced": lambda: torch.randn(8, 12, dtype=torch.float64)[::2, ::2],
    "parameter": lambda: nn.Parameter(rows()),
}


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return mlp()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_of_any_strides(layout: str, network: nn.Module) -> None:
    x = LAYOUTS[layout]()
    xig = XIntegratedGradients(network)
    ours = xig.attribute(x, target=1)
    assert xig.last_route == "single_pass"
    assert_close(ours.detach(), path_integral(network, (x,), (0,), 1)[0], rtol=1e-9, atol=1e-12)


def test_inference_tensors() -> None:
    function = mlp()
    with torch.inference_mode():
        x = rows()
    xig = XIntegratedGradients(function)
    ours = xig.attribute(x, target=1)
    theirs = IntegratedGradients(function).attribute(x, target=1)
    assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


class Mixed(nn.Module):
    """A float32 and a float64 input."""

    def __init__(self) -> None:
        super().__init__()
        self.net = TwoInputs()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.net(x.double(), y)


def test_a_tuple_of_dtypes() -> None:
    function = Mixed()
    inputs = (rows().float(), torch.randn(4, 2, 4, dtype=torch.float64))
    xig = XIntegratedGradients(function)
    ours = xig.attribute(inputs, target=1)
    theirs = IntegratedGradients(function).attribute(inputs, target=1, n_steps=1)
    assert xig.last_route == "single_pass"
    assert [a.dtype for a in ours] == [a.dtype for a in theirs] == [torch.float32, torch.float64]
    assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


class Whole(nn.Module):
    """Takes any dtype."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net((x.abs() if x.is_complex() else x).double())


@pytest.mark.parametrize("start", [None, 0, 2, torch.arange(24).view(4, 6)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_whole_numbers_go_along_captums_ray(dtype: torch.dtype, start: Any) -> None:
    """It is of floating numbers; where it begins above 0, differences without a sign wrap around."""
    function, x = Whole(mlp()), (20 * rows()).abs().to(dtype)
    start = start.to(dtype) if isinstance(start, Tensor) else start
    xig = XIntegratedGradients(function)
    both = [
        method.attribute(x, start, target=1, n_steps=20, return_convergence_delta=True)
        for method in (xig, IntegratedGradients(function))
    ]
    from_zero = start is None or not torch.as_tensor(start).any()
    assert (xig.last_route == "single_pass") is from_zero
    scale = both[1][0].abs().max().item()
    for ours, theirs in zip(*both, strict=True):
        assert ours.dtype == theirs.dtype
        assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * scale)
    assert certify(function, x, start).homogeneous is (xig.last_route == "single_pass")


def test_indices_are_no_numbers() -> None:
    function = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 2, bias=False))
    ids = torch.tensor([[1, 2], [0, 4]])
    for method in (IntegratedGradients, XIntegratedGradients):
        with pytest.raises(RuntimeError, match="Expected tensor for argument"):
            method(function).attribute(ids, target=1)
    assert "is of dtype torch.int64" in certify(function, ids).blockers[0].reason


@pytest.mark.parametrize("build", [mlp, biased_mlp])
@pytest.mark.parametrize("dtype", [torch.complex64])
def test_what_is_not_real_is_captums(build: Any, dtype: torch.dtype) -> None:
    function, x = Whole(build()), (3 * rows()).abs().to(dtype)
    xig = XIntegratedGradients(function)
    ours = xig.attribute(x, target=1, n_steps=5)
    theirs = IntegratedGradients(function).attribute(x, target=1, n_steps=5)
    assert xig.last_route == "captum"
    assert ours.dtype == theirs.dtype
    assert_close(ours, theirs, rtol=0, atol=0)


def test_a_demanded_single_pass_says_what_it_takes() -> None:
    xig = XIntegratedGradients(Whole(mlp()), strategy="single_pass")
    with pytest.raises(NotHomogeneousError, match=r"input 0 is of dtype torch\.complex64"):
        xig.attribute(torch.ones(4, 6, dtype=torch.complex64), target=1)


@pytest.mark.parametrize("start", [torch.zeros(4, 6), torch.ones(1, 6, dtype=torch.int64)])
def test_a_baseline_of_another_dtype_is_captums(start: Tensor) -> None:
    function, x = mlp(), rows()
    xig = XIntegratedGradients(function)
    ours = xig.attribute(x, start, target=1, n_steps=5)
    theirs = IntegratedGradients(function).attribute(x, start, target=1, n_steps=5)
    assert xig.last_route == "captum"
    assert ours.dtype == theirs.dtype
    assert_close(ours, theirs, rtol=0, atol=0)


def test_the_unit_of_rounding_is_the_coarsest_in_use() -> None:
    eps = {dtype: torch.finfo(dtype).eps for dtype in TOLERANCE}
    for dtype, unit in eps.items():
        assert precision_of((rows().to(dtype),), 0.0) == unit
    assert precision_of((rows(), rows().half()), 0.0) == eps[torch.float16]
    assert precision_of((rows(),), eps[torch.bfloat16]) == eps[torch.bfloat16]
    with torch.autocast("cpu", torch.bfloat16):
        assert precision_of((rows().float(),), 0.0) == eps[torch.bfloat16]


@pytest.mark.skipif(
    not hasattr(torch.backends, "fp32_precision"), reason="one switch per backend since torch 2.9"
)
def test_the_reduced_precision_knows_every_switch_of_torch() -> None:
    x, switch = rows().float(), torch.backends.mkldnn.matmul
    units = {"bf16": 2.0**-7, "tf32": 2.0**-10, "ieee": 0.0}
    try:
        for name, unit in units.items():
            switch.fp32_precision = name
            assert reduced_precision_of((x,)) == unit
    finally:
        switch.fp32_precision = "none"


@pytest.mark.parametrize("strategy", ["auto", "captum"])
def test_inside_inference_mode_nothing_can_be_differentiated(strategy: Any) -> None:
    function, x = mlp(), rows()
    with torch.inference_mode():
        with pytest.raises(RuntimeError):
            IntegratedGradients(function).attribute(x, target=1)
        with pytest.raises(RuntimeError):
            XIntegratedGradients(function, strategy=strategy).attribute(x, target=1)
