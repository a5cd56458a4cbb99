"""What a call leaves behind: its result, and nothing else, also when it ends in an exception."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from bias_free_networks import Residual, biased_mlp, images, mlp, rows
from captum.attr import IntegratedGradients
from snapshots import differing, everything, of_tensor
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import XIntegratedGradients


def normed(*, bias: bool) -> nn.Module:
    """A batch norm that does not shift, or one that does, before and after a dropout."""
    net = nn.Sequential(
        nn.Linear(6, 8, bias=bias),
        nn.BatchNorm1d(8, affine=bias),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(8, 3, bias=False),
    ).double()
    if bias:
        nn.init.constant_(net[1].bias, 0.1)
    return net.eval()


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor], str]] = {
    "mlp": (mlp, rows, "single_pass"),
    "residual": (Residual, images, "single_pass"),
    "batch norm": (lambda: normed(bias=False), rows, "single_pass"),
    "batch norm with shift": (lambda: normed(bias=True), rows, "hoisted"),
    "biases": (biased_mlp, rows, "hoisted"),
}


CALLS: dict[str, dict[str, Any]] = {
    "plain": {},
    "delta": {"return_convergence_delta": True},
    "chunks": {"internal_batch_size": 8},
    "graph": {"create_graph": True},
    "several targets": {"target": torch.tensor([0, 1, 2, 0])},
}


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_a_call_changes_nothing(name: str, requires_grad: bool) -> None:
    build, data, route = NETWORKS[name]
    net, x = build(), data().requires_grad_(requires_grad)
    baseline = torch.zeros_like(x[:1]).detach()
    (net(x) ** 2).sum().backward()
    xig = XIntegratedGradients(net)
    before = everything(net, x, baseline)
    for arguments in CALLS.values():
        xig.attribute(x, baseline, **{"target": 1, "n_steps": 4, **arguments})
        assert xig.last_route == route
        assert differing(before, everything(net, x, baseline)) == []
    for mode in (torch.no_grad(), torch.autocast("cpu", torch.bfloat16)):
        with mode:
            inside = everything(net, x, baseline)
            xig.attribute(x, baseline, target=1, n_steps=4)
            assert differing(inside, everything(net, x, baseline)) == []
    assert differing(before, everything(net, x, baseline)) == []


@pytest.mark.parametrize("frozen", [False, True])
def test_parameters_that_need_no_gradient_stay_so(frozen: bool) -> None:
    net, x = mlp().requires_grad_(not frozen), rows()
    before = everything(net, x)
    xig = XIntegratedGradients(net)
    attributions = xig.attribute(x, target=1)
    assert xig.last_route == "single_pass"
    assert not attributions.requires_grad
    assert differing(before, everything(net, x)) == []


class FaultError(Exception):
    pass


class RaisesBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        raise FaultError


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("name", ["residual", "batch norm", "biases"])
@pytest.mark.parametrize("where", ["backward", 2, 3])
def test_an_exception_changes_nothing(name: str, where: Any) -> None:
    build, data, route = NETWORKS[name]
    net, x = build(), data()
    failing = [True]
    made = [0]

    def function(z: Tensor) -> Tensor:
        if failing[0]:
            made[0] += 1
            if where == "backward":
                z = RaisesBackward.apply(z)
            elif where == made[0]:
                raise FaultError
        return net(z)

    xig = XIntegratedGradients(function)
    before = everything(net, x)
    with pytest.raises(FaultError):
        xig.attribute(x, target=1, n_steps=4, return_convergence_delta=True)
    assert differing(before, everything(net, x)) == []
    failing[0] = False
    ours = xig.attribute(x, target=1)
    assert xig.last_route == route
    assert_close(ours, IntegratedGradients(net).attribute(x, target=1), rtol=1e-6, atol=1e-9)
    assert differing(before, everything(net, x)) == []


def test_an_exception_that_captums_own_pass_does_not_meet_is_none() -> None:
    """A function may refuse to be watched, and work with Captum."""
    net, x = mlp(), rows()

    def function(z: Tensor) -> Tensor:
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
            raise FaultError
        return net(z)

    xig = XIntegratedGradients(function)
    before = everything(net, x)
    ours = xig.attribute(x, target=1)
    assert xig.last_route == "captum"
    assert "Fault" in xig.certificate.blockers[0].reason
    assert differing(before, everything(net, x)) == []
    assert_close(ours, IntegratedGradients(net).attribute(x, target=1), rtol=0, atol=0)


@pytest.mark.parametrize("build", [normed, lambda bias: nn.Dropout(0.3)])
def test_randomness_and_statistics_in_training_are_captums(build: Callable[..., nn.Module]) -> None:
    x, after = rows(), []
    for method in (IntegratedGradients, XIntegratedGradients):
        torch.manual_seed(4)
        net = build(bias=False).train()
        random.seed(4)
        attributions = method(net).attribute(x, target=1)
        after.append(
            (
                attributions,
                [buffer.clone() for buffer in net.buffers()],
                torch.rand(3),
                torch.tensor(random.random()),
            )
        )
    assert_close(after[0], after[1], rtol=0, atol=0)


class Counting(nn.Module):
    """Keeps a count in Python, one in a buffer, and its last output."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()
        self.calls = 0
        self.kept: Tensor | None = None
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.count += 1
        self.kept = self.net(x)
        return self.kept


def test_what_a_model_remembers_is_what_captum_makes_it_remember() -> None:
    x, after = rows(), []
    for method in (IntegratedGradients, XIntegratedGradients):
        torch.manual_seed(4)
        net = Counting()
        for _ in range(3):
            method(net).attribute(x, target=1)
        after.append((net.calls, net.count))
        assert net.kept is not None
    assert_close(after[0], after[1], rtol=0, atol=0)
    assert after[0][0] == 3


def test_what_a_model_writes_and_never_reads_costs_no_route() -> None:
    net = Counting()
    xig = XIntegratedGradients(net)
    for _ in range(3):
        xig.attribute(rows(), target=1)
        assert xig.last_route == "single_pass"


def test_a_model_that_writes_its_input_is_captums_error() -> None:
    def doubles(z: Tensor) -> Tensor:
        return z.mul_(2).sum(1)

    x = rows()
    before = of_tensor(x)
    for method in (IntegratedGradients(doubles), XIntegratedGradients(doubles)):
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            method.attribute(x)
        assert differing(before, of_tensor(x)) == []


def test_a_model_that_writes_an_additional_argument_writes_a_copy() -> None:
    def consumes(z: Tensor, weight: Tensor) -> Tensor:
        return (z * weight.mul_(2)).sum(1)

    x, weight = rows(), torch.rand(4, 6, dtype=torch.float64)
    before = of_tensor(weight)
    xig = XIntegratedGradients(consumes)
    ours = xig.attribute(x, additional_forward_args=weight)
    assert xig.last_route == "captum"
    assert differing(before, of_tensor(weight)) == []
    theirs = IntegratedGradients(consumes).attribute(x, additional_forward_args=weight)
    assert_close(ours, theirs, rtol=0, atol=0)


def test_the_result_shares_no_memory_with_the_input() -> None:
    x = rows()
    before = x.clone()
    for function in (lambda z: z[:, 1], lambda z: z.sum(1), mlp()):
        for multiply in (True, False):
            xig = XIntegratedGradients(function, multiply)
            attributions = xig.attribute(x, target=1 if isinstance(function, nn.Module) else None)
            attributions.fill_(7.0)
            assert xig.last_route == "single_pass"
            assert torch.equal(x, before)
