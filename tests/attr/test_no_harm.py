"""A drop-in does no harm: memory of the caller's and of the results, transforms, other processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from captum.attr import IntegratedGradients
from processes import needs_gloo, run_together
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

from captum_xdnn import XIntegratedGradients, XLayerConductance


def perceptron(*, bias: bool, last: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(6, 16, bias=bias), nn.ReLU(), nn.Linear(16, 3, bias=bias)]
    return nn.Sequential(*layers, *([] if last is None else [last])).double()


def images(form: str) -> Tensor:
    x = torch.rand(2, 8, 8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    if form == "permuted":
        return x.permute(0, 3, 1, 2)
    x = x.permute(0, 3, 1, 2).contiguous()
    return (
        x.contiguous(memory_format=torch.channels_last) if form == "channels last" else x[..., :6]
    )


def convolutional(head: list[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    trunk = [nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*trunk, nn.Linear(16, 2, bias=False), *head).double()


@pytest.mark.parametrize("form", ["permuted", "channels last", "sliced"])
@pytest.mark.parametrize("head", [[], [nn.Softmax(1)]])
@pytest.mark.parametrize("multiply", [True, False])
def test_results_are_contiguous(form: str, head: list[nn.Module], multiply: bool) -> None:
    net, x = convolutional(head), images(form)
    ours = XIntegratedGradients(net, multiply).attribute(x, target=0)
    theirs = IntegratedGradients(net, multiply).attribute(x, target=0)
    assert ours.stride() == theirs.stride()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-9)
    ours.view(2, -1).mul_(2)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("multiply", [True, False])
def test_results_of_several_inputs_share_nothing(bias: bool, multiply: bool) -> None:
    net = perceptron(bias=bias)
    x = torch.rand(2, 6, dtype=torch.float64)
    xig = XIntegratedGradients(lambda a, b: net(a + b), multiply)
    one, two = xig.attribute((x, x), target=1)
    before = two.clone()
    one.zero_()
    assert torch.equal(two, before)


@pytest.mark.parametrize(
    "write",
    [
        lambda z: z.detach().clamp_(0, 0.5),
        lambda z: z.detach()[0].zero_(),
        lambda z: z.detach().numpy().fill(0),
    ],
)
def test_the_callers_memory_is_not_written(write: Callable[[Tensor], Any]) -> None:
    net, x = perceptron(bias=False), torch.rand(2, 6, dtype=torch.float64) + 0.6
    outside, seen = x.numpy(), []

    def function(z: Tensor) -> Tensor:
        y = net(z.clone())
        write(z)
        seen.append(float(outside.sum()))
        return torch.as_tensor(y)

    xig = XIntegratedGradients(function)
    for _ in range(4):
        xig.attribute(x, target=0)
    assert set(seen) == {float(outside.sum())}


class Keeping(nn.Module):
    """Keeps views of what it is given, which somebody writes into later."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.flat, self.net, self.kept = nn.Flatten(), perceptron(bias=bias), []

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        flat = self.flat(x)
        self.kept = [x.detach(), weight.detach()[0], flat.detach(), weight]
        y: Tensor = self.net(flat * weight)
        return y


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.filterwarnings("ignore:Internal batch size")
@pytest.mark.parametrize("made", [{}, {"verify": False}])
@pytest.mark.parametrize("options", [{}, {"create_graph": True}, {"internal_batch_size": 2}])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_what_a_function_keeps_is_not_the_callers(
    bias: bool, made: dict[str, Any], options: dict[str, Any], requires_grad: bool
) -> None:
    x = torch.rand(4, 2, 3, dtype=torch.float64).requires_grad_(requires_grad)
    weight = torch.rand(4, 6, dtype=torch.float64)
    net, before = Keeping(bias), (x.detach().clone(), weight.clone())
    xig = XIntegratedGradients(net, **made)
    for _ in range(4):
        xig.attribute(x, target=1, additional_forward_args=weight, **options)
        for kept in net.kept:
            kept.fill_(7)
        assert torch.equal(x, before[0])
        assert torch.equal(weight, before[1])


@pytest.mark.parametrize("bias", [False, True])
def test_features_that_a_hook_keeps_outlive_the_inputs_buffer(bias: bool) -> None:
    net, kept = nn.Sequential(nn.Flatten(), perceptron(bias=bias)), {}
    net[0].register_forward_hook(lambda _, __, out: kept.update(flat=out.detach()))
    x, xig = torch.rand(2, 2, 3, dtype=torch.float64), XIntegratedGradients(net)
    for _ in range(4):
        xig.attribute(x, target=0)
        features, before = kept["flat"], kept["flat"].clone()
        x.mul_(2)
        assert torch.equal(features, before)


def test_layers_are_computed_of_copies_of_the_arguments() -> None:
    x, weight = torch.rand(4, 2, 3, dtype=torch.float64), torch.rand(4, 6, dtype=torch.float64)
    net, before = Keeping(bias=False), weight.clone()
    method = XLayerConductance(net, net.net[0])
    method.attribute(x, target=0, additional_forward_args=weight)
    net.kept[1].fill_(7)
    assert method.last_route == "single_pass"
    assert torch.equal(weight, before)


class Gathered(nn.Module):
    """Its weight has memory while it runs, as sharded weights have."""

    def __init__(self, bend: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.shard, self.bend = nn.Parameter(torch.rand(5, 6)), bend
        self.full = torch.empty(5, 6)
        self.full.untyped_storage().resize_(0)

    def forward(self, x: Tensor) -> Tensor:
        self.full.untyped_storage().resize_(self.full.numel() * 4)
        with torch.no_grad():
            self.full.copy_(self.shard)
        y = self.bend(x @ self.full.clone().t())
        self.full.untyped_storage().resize_(0)
        return y


@pytest.mark.parametrize("bend", [torch.relu, torch.tanh, lambda y: y.softmax(1)])
def test_memory_that_is_given_back(bend: Callable[[Tensor], Tensor]) -> None:
    net, x = Gathered(bend), torch.rand(2, 6)
    xig = XIntegratedGradients(net)
    for _ in range(3):
        torch.testing.assert_close(
            xig.attribute(x, target=0),
            IntegratedGradients(net).attribute(x, target=0),
            rtol=1e-3,
            atol=1e-5,
        )


FUNCTIONS: dict[str, Any] = {
    "single pass": perceptron(bias=False),
    "hoisted": perceptron(bias=True),
    "softmax": perceptron(bias=False, last=nn.Softmax(1)),
    "degree 2": lambda z: z[:, :3] * z[:, 3:],
}


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_forward_mode_derivatives(name: str) -> None:
    function = FUNCTIONS[name]
    x, t = torch.rand(2, 2, 6, dtype=torch.float64) + 0.1
    found = []
    for method in (XIntegratedGradients(function), IntegratedGradients(function)):
        for _ in range(2):
            with forward_ad.dual_level():
                result = method.attribute(forward_ad.make_dual(x, t), target=1)
                found.append(forward_ad.unpack_dual(result).tangent)
    torch.testing.assert_close(found[1], found[3])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_traced_call(name: str) -> None:
    x = torch.rand(2, 6, dtype=torch.float64)
    xig = XIntegratedGradients(FUNCTIONS[name])
    xig.attribute(x, target=1)
    traced = make_fx(lambda z: xig.attribute(z, target=1))(x)
    expected = IntegratedGradients(FUNCTIONS[name]).attribute(x + 1, target=1)
    torch.testing.assert_close(traced(x + 1), expected)


@pytest.mark.parametrize("name", ["single pass", "hoisted", "softmax"])
def test_counting_operations_around_a_call(name: str) -> None:
    """Of an input that requires a gradient: with another Captum's own call raises."""
    x = torch.rand(2, 6, dtype=torch.float64, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        ours = XIntegratedGradients(FUNCTIONS[name]).attribute(x, target=0)
    assert counter.get_total_flops() > 0
    torch.testing.assert_close(
        ours, IntegratedGradients(FUNCTIONS[name]).attribute(x, target=0), rtol=1e-5, atol=1e-9
    )


@pytest.mark.parametrize("scale", [1e-31, 1e-12, 1e-4])
def test_tiny_inputs_contradict_nothing(scale: float) -> None:
    net, x = perceptron(bias=True).float(), torch.rand(8, 6) * scale
    xig = XIntegratedGradients(net)
    for _ in range(3):
        xig.attribute(x, target=0)  # a warning would be an error here


COLLECTIVE = """
import sys
import torch
import torch.distributed as dist
from torch import nn
from captum_xdnn import XIntegratedGradients

torch.set_num_threads(1)
rank, size, store = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
torch.manual_seed(0)
net, call = nn.Linear(6, 2), [0]

def function(x):
    step = torch.full((1,), float(call[0]))
    dist.all_reduce(step)
    assert float(step) == size * call[0], (step, call)
    return net(x.tanh()) + 0 * step

xig = XIntegratedGradients(function)
for i in range(9):
    call[0] = i + 1
    xig.attribute(torch.rand(4 if rank == 0 else 2 + i, 6), target=0)
    assert xig.last_route == "captum"
dist.barrier()
dist.destroy_process_group()
print("done", rank)
"""


@needs_gloo
@pytest.mark.slow
def test_collectives_of_two_processes_meet(tmp_path: Path) -> None:
    run_together(COLLECTIVE, 2, tmp_path)
