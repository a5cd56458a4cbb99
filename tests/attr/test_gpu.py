"""On a CUDA device: no waiting that is not asked for, reduced precision, several devices."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import captum.attr
import pytest
import torch
from bias_free_networks import affine_output, conv_net, images, mlp, rows
from captum.attr import IntegratedGradients
from layer_family import NAMES, NEURON
from references import path_integral
from torch import Tensor, nn
from torch.testing import assert_close

import captum_xdnn
from captum_xdnn import XIntegratedGradients

pytestmark = pytest.mark.gpu
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


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        with torch.backends.cudnn.flags(allow_tf32=allowed):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize("allowed", [True, False])
def test_tf32(allowed: bool) -> None:
    function, x = on_gpu(conv_net(), images())
    xig = XIntegratedGradients(function)
    with tf32(allowed):
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
    # Over several devices the replicas run in threads that nothing watches.
    assert xig.last_route == "single_pass" or torch.cuda.device_count() > 1
    assert_close(ours, plain, rtol=1e-4, atol=1e-5)


class Spread(nn.Module):
    """One half on the CPU, one on the GPU; the output is on the GPU, the input is not."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.front, self.back = net[:2].float(), net[2:].float().cuda()

    def forward(self, x: Tensor) -> Tensor:
        return self.back(self.front(x).cuda())


@pytest.mark.parametrize(("build", "inputs"), [(mlp, rows), (conv_net, images)])
def test_a_model_spread_over_devices(build: Any, inputs: Any) -> None:
    """Also where the products of the half on the GPU are TF32: a warning would be an error."""
    function, x = Spread(build()), inputs().float()
    xig = XIntegratedGradients(function)
    with torch.backends.cudnn.flags(allow_tf32=True):
        ours = xig.attribute(x, target=1)
    theirs = IntegratedGradients(function).attribute(x, target=1, n_steps=1)
    assert xig.last_route == "single_pass"
    assert_close(ours, theirs, rtol=1e-2, atol=1e-2 * float(theirs.abs().max()))


@pytest.mark.parametrize("build", [mlp, lambda: nn.Sequential(nn.Tanh(), mlp())])
def test_a_target_elsewhere_than_the_model(build: Any) -> None:
    function, x, target = build().float(), rows().float(), torch.tensor(1, device="cuda")
    ours = XIntegratedGradients(function).attribute(x, target=target)
    theirs = IntegratedGradients(function).attribute(x, target=target)
    assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def waits_of(call: Any) -> int:
    with sync_debug_mode("warn"), warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        call()
    return len([w for w in raised if "synchronizing" in str(w.message)])


@pytest.mark.parametrize("target", [1, [0, 1, 2, 1], [(0,), (1,), (2,), (1,)]], ids=str)
def test_captums_route_waits_no_more_often_than_captum(target: Any) -> None:
    function, x = on_gpu(nn.Sequential(nn.Softplus(), mlp()), rows())
    xig, theirs = XIntegratedGradients(function), IntegratedGradients(function)
    for _ in range(6):  # until it is not looked at any more
        xig.attribute(x, target=target)
    assert xig.last_route == "captum"
    allowed = waits_of(lambda: theirs.attribute(x, target=target))
    # The places of a list are put on the device at once, where Captum takes row by row.
    allowed += isinstance(target, list) and isinstance(target[0], tuple)
    assert waits_of(lambda: xig.attribute(x, target=target)) <= allowed


@contextmanager
def so_much_memory(more: int) -> Iterator[None]:
    """Let this process have no more than so many bytes beside what it has: what exceeds that is out of memory."""
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + more) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


WIDE = 4096
HEADS: dict[str, tuple[Any, ...]] = {
    "single_pass": (),
    "hoisted": (nn.Softmax(1),),
    "captum": (nn.Linear(3, 3), nn.Sigmoid()),
}


@pytest.mark.parametrize("route", HEADS)
@pytest.mark.parametrize("name", ["IntegratedGradients", *NAMES])
def test_memory_that_runs_out(name: str, route: str) -> None:
    """All steps together take some GiB and every class has a quarter of one: the same numbers, once Captum's fail."""
    torch.manual_seed(0)
    first = nn.Softplus() if route == "captum" else nn.Identity()
    body = nn.Linear(64, WIDE, bias=False), nn.ReLU(), nn.Linear(WIDE, WIDE, bias=False), nn.ReLU()
    net = nn.Sequential(first, *body, nn.Linear(WIDE, 3, bias=False), *HEADS[route]).cuda()
    x, n_steps = torch.rand(64, 64, device="cuda"), 400
    kinds = [getattr(captum.attr, name), getattr(captum_xdnn, f"X{name}")]
    layer = () if name == "IntegratedGradients" else (net[2],)
    theirs, ours = (kind(net, *layer) for kind in kinds)
    call: dict[str, Any] = {"n_steps": n_steps}
    if name != "NeuronIntegratedGradients":
        call["target"] = 1
    if name in NEURON:
        call["neuron_selector"] = 5
    # Conductance with autograd's graph holds every pass at once, so it is not divided.
    with torch.no_grad() if name == "LayerConductance" else nullcontext():
        expected = theirs.attribute(x, **call, internal_batch_size=4096)
        with so_much_memory(2**28):
            for _ in range(3):
                found = ours.attribute(x, **call)
    approximate = name.endswith("Conductance") and ours.last_route != "captum"
    largest = float(expected.abs().max())
    assert_close(found, expected, rtol=0, atol=(2e-2 if approximate else 1e-3) * largest)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6])
def test_points_for_a_tolerance_in_little_memory(tolerance: float) -> None:
    """A pass of all examples that are not done takes more than there is."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(64, WIDE), nn.Tanh(), nn.Linear(WIDE, WIDE), nn.Tanh(), nn.Linear(WIDE, 3)
    )
    x = torch.rand(2048, 64, device="cuda")
    xig = XIntegratedGradients(net.cuda())
    expected = xig.attribute(x, target=1, tolerance=tolerance)
    points = xig.last_steps
    with so_much_memory(2**28):
        found = xig.attribute(x, target=1, tolerance=tolerance)
    assert_close(found, expected, rtol=0, atol=1e-3 * float(expected.abs().max()))
    assert points is not None
    assert_close(xig.last_steps, points)


def test_memory_of_others_is_left_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where others hold most of it, steps are divided beforehand; nothing runs out."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Softplus(), nn.Linear(64, WIDE), nn.Tanh(), nn.Linear(WIDE, 3)).cuda()
    x, call = torch.rand(64, 64, device="cuda"), {"target": 1, "n_steps": 300}
    expected = IntegratedGradients(net).attribute(x, **call, internal_batch_size=1024)
    xig = XIntegratedGradients(net)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    left = 2**28 - torch.cuda.memory_reserved() + torch.cuda.memory_allocated()
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (left, 2**36))
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    found = xig.attribute(x, **call)
    assert torch.cuda.max_memory_allocated() - before <= 2**28
    assert_close(found, expected, rtol=0, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize("build", [mlp, lambda: nn.Sequential(nn.Softplus(), mlp())])
def test_another_device_than_the_current_one(build: Any) -> None:
    function, x = build().float().to("cuda:1"), rows().float().to("cuda:1")
    ours = XIntegratedGradients(function).attribute(x, target=1)
    theirs = IntegratedGradients(function).attribute(x, target=1)
    assert ours.device == torch.device("cuda:1")
    assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_the_generator_of_the_device_is_left_alone() -> None:
    function, x = on_gpu(nn.Sequential(mlp(), nn.Dropout(0.5)).eval(), rows())
    before = torch.cuda.get_rng_state()
    xig = XIntegratedGradients(function)
    xig.attribute(x, target=1)
    assert xig.last_route == "single_pass"
    assert torch.equal(torch.cuda.get_rng_state(), before)
