"""Memory that runs out in any pass of any class and route: the same numbers, and what has failed is freed.

Simulated, on every device: one forward or backward pass of a call raises, each of them in turn.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import captum.attr
import outside
import pytest
import torch
from layer_family import NAMES, Case, arguments_of, chain, method_of, rows
from torch import Tensor, nn

import captum_xdnn
from captum_xdnn import _torch
from captum_xdnn.errors import without_frames
from captum_xdnn.recording import steps

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
FAMILY = ("IntegratedGradients", *NAMES)
NETWORKS: dict[str, Callable[[], nn.Sequential]] = {
    "single_pass": lambda: chain(inplace=False),
    "hoisted": lambda: chain(inplace=False, end=nn.Softmax(1)),
    "captum": lambda: nn.Sequential(nn.Softplus(), *chain(inplace=False, bias=True)).double(),
}
TORCHS = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
ERRORS: dict[str, Exception] = {
    "torch": TORCHS,
    "cuda": RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA"),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    "cudnn": RuntimeError(
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED (cudnnCreate)"
    ),
    "cpu": RuntimeError(
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
    ),
    "python": MemoryError(),
}


class Passes:
    """Counts the forward and backward passes; one fails, and no later one finds what that one computed."""

    def __init__(self, fails: int, error: Exception = TORCHS, *, wrapped: bool = False) -> None:
        self.fails, self.error, self.wrapped = fails, error, wrapped
        self.count = 0
        self.failed: Any = lambda: None

    def begin(self, computed: Tensor | None = None) -> None:
        self.count += 1
        assert self.failed() is None, "a tensor of the pass that failed is held"
        if self.count == self.fails:
            self.failed = (lambda: None) if computed is None else weakref.ref(computed)
            raise self.error

    def through(self, net: nn.Sequential, x: Tensor) -> Tensor:
        hidden = net[0](x)
        try:
            self.begin(hidden)
        except Exception as error:
            if self.wrapped:
                raise torch.OutOfMemoryError("a wrapper says so") from error
            raise
        return net[1:](hidden)


class Counted(nn.Module):
    def __init__(self, net: nn.Sequential) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return outside.running[0].through(self.net, x) if outside.running else self.net(x)


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch, always_hoisted: None) -> Any:
    def counting(function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            for passes in outside.running:
                passes.begin()
            return function(*args, **kwargs)

        return counted

    monkeypatch.setattr(torch.autograd, "grad", counting(torch.autograd.grad))  # Captum's own calls
    monkeypatch.setattr(_torch, "_GRAD", torch.autograd.grad)
    monkeypatch.setattr(_torch, "_run_backward", counting(_torch._run_backward))
    collects = gc.isenabled()
    gc.disable()  # what has to wait for the garbage collector is not free when memory is needed
    yield
    outside.running.clear()
    if collects:
        gc.enable()


def made(name: str, route: str, device: str, *, ours: bool = True) -> Callable[..., Tensor]:
    """``attribute`` of a new network, always the same, and what to call it with."""
    steps.forget()
    torch.manual_seed(0)
    net, x = Counted(NETWORKS[route]()).to(device), rows().to(device)
    if name == "IntegratedGradients":
        kind: Any = captum_xdnn.XIntegratedGradients if ours else captum.attr.IntegratedGradients
        method, call = kind(net), {"target": 1, "n_steps": 7}
    else:
        case = Case(net, net.net[2], x)
        method, call = method_of(name, case, ours=ours), arguments_of(name, case)
    # Conductance with autograd's graph holds every pass at once, so it is not divided.
    mode = torch.no_grad if name == "LayerConductance" else nullcontext

    def attribute(passes: Passes | None = None) -> Tensor:
        outside.running[:] = [] if passes is None else [passes]
        with mode():
            found: Tensor = method.attribute(x, **call)
        outside.running.clear()
        return found

    attribute.method = method  # type: ignore[attr-defined]
    return attribute


def near(found: Tensor, expected: Tensor) -> bool:
    gap = (found - expected).detach().abs().sum() / expected.detach().abs().sum()
    return float(gap) < 1e-9


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("route", NETWORKS)
@pytest.mark.parametrize("name", FAMILY)
def test_in_any_pass(name: str, route: str, device: str) -> None:
    first = made(name, route, device)
    # A fast route that does not fit leaves a call to Captum's points.
    expected = [first(), made(name, route, device, ours=False)()]
    before = (
        2 if name == "LayerIntegratedGradients" else 0
    )  # passes of Captum's before the integral
    with pytest.raises(torch.OutOfMemoryError) if before else nullcontext():
        made(name, route, device)(Passes(before))
    at = before + 1
    while True:
        passes = Passes(at)
        found = made(name, route, device)(passes)
        assert any(near(found, e) for e in expected), at
        if passes.count < at:
            break
        at += 1
    assert at > before + 3


@pytest.mark.parametrize("route", NETWORKS)
@pytest.mark.parametrize("said", ERRORS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_however_it_is_said(route: str, said: str, wrapped: bool) -> None:
    expected = made("IntegratedGradients", route, "cpu")()
    for at in range(1, 5):
        passes = Passes(at, ERRORS[said], wrapped=wrapped)
        assert near(made("IntegratedGradients", route, "cpu")(passes), expected)


def test_fewer_steps_at_a_time_go_through_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hoisting halves them where they do not fit together, and remembers how many did."""
    from captum_xdnn.routes.repeated_head import Crossing

    attribute, expected = (made("IntegratedGradients", "hoisted", "cpu") for _ in range(2))
    met: list[int] = []
    through = Crossing._through

    def bounded(self: Any, along: list[Tensor], chosen: Any) -> Tensor:
        met.append(len(along[0]))
        if len(along[0]) > 3:
            raise TORCHS
        return through(self, along, chosen)

    monkeypatch.setattr(Crossing, "_through", bounded)
    found = attribute()
    assert attribute.method.last_route == "hoisted"  # type: ignore[attr-defined]
    assert met[:2] == [7, 3]
    met.clear()
    assert near(attribute(), found)
    assert max(met) == 3
    monkeypatch.undo()
    assert near(found, expected())


@pytest.mark.parametrize("most", [3, 2, 1])
def test_fewer_examples_at_a_time_in_a_single_pass(most: int) -> None:
    net, seen = chain(inplace=False), []

    def function(x: Tensor) -> Tensor:
        seen.append(len(x))
        if x.requires_grad and len(x) > most:
            raise TORCHS
        return net(x)

    xig = captum_xdnn.XIntegratedGradients(function)
    x = rows()
    found = xig.attribute(x, target=torch.tensor([0, 2, 1, 1]))
    assert xig.last_route == "single_pass"
    expected = captum_xdnn.XIntegratedGradients(net).attribute(x, target=torch.tensor([0, 2, 1, 1]))
    assert near(found, expected)


@pytest.mark.parametrize("most", [4, 2, 1])
def test_less_than_the_examples_of_the_first_call(most: int) -> None:
    """Nothing is known of the function before; what is no fast route learns from a part what it may do."""
    net = chain(inplace=False, bias=True, end=nn.GELU())

    def function(x: Tensor) -> Tensor:
        if x.requires_grad and len(x) > most:
            raise TORCHS
        return net(net[0](x.exp()) @ net[0].weight)

    x = rows()
    found = captum_xdnn.XIntegratedGradients(function).attribute(x, target=1, n_steps=7)
    net_alone = lambda x: net(net[0](x.exp()) @ net[0].weight)  # noqa: E731
    assert near(found, captum.attr.IntegratedGradients(net_alone).attribute(x, target=1, n_steps=7))


def test_an_error_that_the_caller_handles_keeps_its_frames() -> None:
    handled = ValueError("the caller's own")
    attribute = made("IntegratedGradients", "captum", "cpu")
    found = None
    try:
        raise handled
    except ValueError:
        found = attribute(Passes(1))
    assert handled.__traceback__ is not None
    assert near(found, attribute())


def test_errors_behind_an_error_are_without_frames_too() -> None:
    behind = ValueError("behind")

    def fail() -> None:
        try:
            raise behind
        except ValueError as error:
            raise KeyError from error

    with pytest.raises(KeyError) as raised:
        fail()
    assert behind.__traceback__ is not None
    assert without_frames(raised.value).__traceback__ is behind.__traceback__ is None
