"""On a CUDA device: no waiting that is not asked for, reduced precision, several devices."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from bias_free_networks import affine_output, conv_net, images, mlp, rows
from captum.attr import IntegratedGradients
from references import path_integral
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import XIntegratedGradients

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
TARGETS = {
    "int": lambda: 1,
    "tuple": lambda: (1,),
    "0-d tensor": lambda: torch.tensor(1, device="cuda"),
    "1-element tensor": lambda: torch.tensor([-2], device="cuda"),
    "1-d tensor": lambda: torch.tensor([1, 1, 1, 1], device="cuda"),
}


@contextmanager
def sync_debug_mode(mode: str) -> Iterator[None]:
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def on_gpu(function: nn.Module, x: Tensor) -> tuple[nn.Module, Tensor]:
    return function.float().cuda(), x.float().cuda()


@pytest.mark.parametrize("form", TARGETS)
@pytest.mark.parametrize("internal_batch_size", [None, 2])
@pytest.mark.parametrize("create_graph", [False, True])
def test_without_the_guard_nothing_waits(
    form: str, internal_batch_size: int | None, create_graph: bool
) -> None:
    function, x = on_gpu(mlp(), rows())
    xig = XIntegratedGradients(function, verify=False)
    arguments: dict[str, Any] = {
        "target": TARGETS[form](),
        "internal_batch_size": internal_batch_size,
        "create_graph": create_graph,
    }
    expected = xig.attribute(x, **arguments)
    with sync_debug_mode("error"):
        found = xig.attribute(x, **arguments)
    assert xig.last_route == "single_pass"
    assert_close(found, expected)
    exact = path_integral(function.double(), (x,), (0,), 1)[0]
    assert_close(found.detach().double(), exact, rtol=1e-2, atol=1e-2 * float(exact.abs().max()))


@pytest.mark.parametrize("build", [mlp, affine_output])
def test_the_guard_waits_once(build: Any) -> None:
    function, x = on_gpu(build(), rows())
    xig = XIntegratedGradients(function)
    xig.attribute(x, target=1)
    with sync_debug_mode("warn"), warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        xig.attribute(x, target=torch.tensor(1, device="cuda"))
    assert xig.last_route == "single_pass"
    waits = [w for w in raised if "synchronizing" in str(w.message)]
    assert len(waits) == 1, [str(w.message) for w in waits]


@pytest.mark.parametrize("index", [3, -4])
def test_a_target_that_does_not_exist_is_captums_error(index: int) -> None:
    function, x = on_gpu(mlp(), rows())
    target = torch.tensor([index], device="cuda")
    for method in (IntegratedGradients(function), XIntegratedGradients(function)):
        with pytest.raises(IndexError):
            method.attribute(x, target=target)
    torch.cuda.synchronize()


@pytest.mark.parametrize("allowed", [True, False])
def test_tf32(allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", allowed)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
    function, x = on_gpu(conv_net(), images())
    xig = XIntegratedGradients(function)
    ours = xig.attribute(x, target=1)
    exact = path_integral(function.double(), (x,), (0,), 1)[0]
    tolerance = (3e-3 if allowed else 1e-5) * float(exact.abs().max())
    assert xig.last_route == "single_pass"
    assert_close(ours.double(), exact, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast(dtype: torch.dtype) -> None:
    function, x = on_gpu(conv_net(), images())
    xig = XIntegratedGradients(function)
    with torch.autocast("cuda", dtype):
        ours = xig.attribute(x, target=1)
        theirs = IntegratedGradients(function).attribute(x, target=1, n_steps=1)
    assert xig.last_route == "single_pass"
    assert ours.dtype == theirs.dtype == torch.float32
    assert_close(ours, theirs, rtol=0, atol=5e-2 * float(theirs.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_half_precision(dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    function = conv_net().cuda().to(dtype=dtype, memory_format=memory_format)
    x = images().cuda().to(dtype=dtype, memory_format=memory_format)
    xig = XIntegratedGradients(function)
    ours = xig.attribute(x, target=1)
    exact = path_integral(function.double(), (x,), (0,), 1)[0]
    assert xig.last_route == "single_pass"
    assert ours.dtype == torch.float32
    assert_close(ours.double(), exact, rtol=0, atol=5e-2 * float(exact.abs().max()))


def test_data_parallel() -> None:
    function, x = on_gpu(mlp(), rows(7))
    plain = XIntegratedGradients(function).attribute(x, target=1)
    xig = XIntegratedGradients(nn.DataParallel(function))
    ours = xig.attribute(x, target=1)
    assert xig.last_route == "single_pass"
    assert_close(ours, plain)


class Spread(nn.Module):
    """One half on the CPU, one on the GPU; the output is on the GPU, the input is not."""

    def __init__(self) -> None:
        super().__init__()
        net = mlp().float()
        self.front, self.back = net[:2], net[2:].cuda()

    def forward(self, x: Tensor) -> Tensor:
        return self.back(self.front(x).cuda())


def test_a_model_spread_over_devices() -> None:
    function, x = Spread(), rows().float()
    xig = XIntegratedGradients(function)
    ours = xig.attribute(x, target=1)
    theirs = IntegratedGradients(function).attribute(x, target=1, n_steps=1)
    assert_close(ours, theirs, rtol=1e-2, atol=1e-2 * float(theirs.abs().max()))


def test_the_generator_of_the_device_is_left_alone() -> None:
    function, x = on_gpu(nn.Sequential(mlp(), nn.Dropout(0.5)).eval(), rows())
    before = torch.cuda.get_rng_state()
    xig = XIntegratedGradients(function)
    xig.attribute(x, target=1)
    assert xig.last_route == "single_pass"
    assert torch.equal(torch.cuda.get_rng_state(), before)
