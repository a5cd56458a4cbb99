"""Captum's numbers to the last bit and Captum's errors, though no output is differentiated by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import captum.attr
import pytest
import torch
from layer_family import CAPTUMS_WARNINGS, NAMES, Case, arguments_of, method_of
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import captum_xdnn
from captum_xdnn import XIntegratedGradients, XLayerIntegratedGradients
from captum_xdnn.routes.gradients import gradient_of_each

pytestmark = CAPTUMS_WARNINGS
BITS: dict[str, Any] = {"rtol": 0, "atol": 0, "equal_nan": True}


def tanh_mlp(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 3)
    return nn.Sequential(*layers).to(dtype)


def inputs(size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(size, 6, generator=torch.Generator().manual_seed(1)).to(dtype)


class Watched(nn.Module):
    """Notes the gradient that a hook on the output sees."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.seen = tanh_mlp(), []

    def forward(self, x: Tensor) -> Tensor:
        output = self.net(x)[:, 0]
        if output.requires_grad:
            output.register_hook(lambda g: self.seen.append((g.clone(), g.stride())) or 3 * g)
        return output


class Doubling(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sin()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient / gradient.norm()


NET = tanh_mlp()
CONV = nn.Sequential(
    nn.Conv1d(2, 4, 2), nn.BatchNorm1d(4), nn.SiLU(), nn.Flatten(), nn.Linear(8, 3)
)
FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], Any]] = {
    "a_target": (NET, 1),
    "a_target_for_each": (lambda x: NET(x).softmax(-1), "each"),
    "a_list_of_targets": (NET, "list"),
    "a_place_for_each": (lambda x: NET(x).reshape(-1, 3, 1), "tuples"),
    "one_output": (lambda x: NET(x)[:, 2], None),
    "a_column": (lambda x: NET(x)[:, 2:], None),
    "turned": (lambda x: NET(x).t().contiguous().t()[:, :1], None),
    "expanded": (lambda x: NET(x).sum().expand(len(x)), None),
    "stacked": (lambda x: torch.stack([NET(row)[0] for row in x.unbind()]), None),
    "a_loss_over_the_batch": (lambda x: NET(x).square().mean().reshape(1), None),
    "batch_norm_in_training": (lambda x: CONV(x.reshape(-1, 2, 3)), 1),
    "the_input": (lambda x: x, 3),
    "a_view_of_the_input": (lambda x: x[:, 0], None),
    "an_infinite_gradient": (lambda x: (x - x.detach()).abs().sqrt().sum(1) + NET(x)[:, 0], None),
    "a_function_of_its_own": (lambda x: Doubling.apply(NET(x))[:, 0], None),
    "a_checkpoint": (lambda x: checkpoint(NET, x, use_reentrant=False), 1),
    "in_place": (lambda x: NET(x).mul_(2).clamp_(min=0), 0),
}


def called(name: str, size: int) -> dict[str, Any]:
    target = FUNCTIONS[name][1]
    return {
        "target": {
            "each": torch.arange(size) % 3,
            "list": [i % 3 for i in range(size)],
            "tuples": [(i % 3, 0) for i in range(size)],
        }.get(target, target)
    }


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("size", [1, 2, 33])
def test_the_same_bits(name: str, size: int) -> None:
    x, call = inputs(size), called(name, size)
    for more in ({}, {"internal_batch_size": 3 * size}, {"method": "riemann_left", "n_steps": 4}):
        expected = captum.attr.IntegratedGradients(FUNCTIONS[name][0]).attribute(x, **call, **more)
        xig = XIntegratedGradients(FUNCTIONS[name][0], strategy="captum")
        found = xig.attribute(x, **call, **more)
        torch.testing.assert_close(found, expected, **BITS)
        assert found.stride() == expected.stride()


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float16, torch.bfloat16, torch.complex64], ids=str
)
def test_the_same_bits_in_other_dtypes(dtype: torch.dtype) -> None:
    net, x = tanh_mlp(), inputs(33, dtype)
    if dtype.is_complex:
        x = x + 1j * x.flip(1)

        def function(x: Tensor) -> Tensor:
            return NET(x.abs())
    else:
        function = net.to(dtype)
    for size in (1, 33):
        expected = captum.attr.IntegratedGradients(function).attribute(x[:size], target=1)
        found = XIntegratedGradients(function, strategy="captum").attribute(x[:size], target=1)
        torch.testing.assert_close(found, expected, **BITS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 20])
@pytest.mark.parametrize("bound", [None, 80])
@pytest.mark.parametrize("accelerated", [False, True])
def test_the_same_bits_of_layers_and_neurons(
    name: str, size: int, bound: int | None, accelerated: bool
) -> None:
    case = Case(NET, NET[2], inputs(size))
    call = arguments_of(name, case, internal_batch_size=bound)
    expected = method_of(name, case, ours=False).attribute(case.inputs, **call)
    if accelerated:
        with captum_xdnn.accelerate_captum():
            found = method_of(name, case, ours=False).attribute(case.inputs, **call)
        torch.testing.assert_close(found, expected)
        return
    found = method_of(name, case, ours=True, strategy="captum").attribute(case.inputs, **call)
    torch.testing.assert_close(found, expected, **BITS)
    assert found.stride() == expected.stride()


@pytest.mark.parametrize("name", ["NeuronIntegratedGradients", "NeuronConductance"])
@pytest.mark.parametrize("selector", ["places", "mean", "several"])
def test_neurons_that_are_no_place(name: str, selector: str) -> None:
    chosen = {
        "places": (slice(1, 4),),
        "mean": lambda h: h.mean(1),
        "several": lambda h: h[:, :2],
    }
    case = Case(NET, NET[2], inputs(5), selector=chosen[selector])
    call = arguments_of(name, case)
    same_result(
        lambda: method_of(name, case, ours=False).attribute(case.inputs, **call),
        lambda: method_of(name, case, ours=True, strategy="captum").attribute(case.inputs, **call),
    )


@pytest.mark.parametrize(
    "options",
    [
        {"retain_graph": True},
        {"create_graph": True},
        {"allow_unused": True},
        {"allow_unused": True, "materialize_grads": True},
        {"grad_outputs": [torch.tensor(float(i)) for i in range(21)]},
        {"grad_outputs": [torch.ones(2)] * 21},
        {"is_grads_batched": True},
        {"no_such_option": 1},
    ],
    ids=lambda o: "-".join(o),
)
def test_options_of_autograd(options: dict[str, Any]) -> None:
    net, x = tanh_mlp(), inputs(3)
    call = {"target": 1, "n_steps": 7, "grad_kwargs": options}
    same_result(
        lambda: captum.attr.LayerIntegratedGradients(net, net[2]).attribute(x, **call),
        lambda: XLayerIntegratedGradients(net, net[2]).attribute(x, **call),
    )
    for name in ("LayerConductance", "InternalInfluence"):
        call["n_steps"] = 6 if name == "LayerConductance" else 7
        ours, theirs = getattr(captum_xdnn, f"X{name}"), getattr(captum.attr, name)
        same_result(
            lambda theirs=theirs: theirs(net, net[2]).attribute(x, **call),
            lambda ours=ours: ours(net, net[2]).attribute(x, **call),
        )


def outcome_of(call: Callable[[], Any]) -> tuple[Any, Any]:
    try:
        return "returned", call()
    except Exception as error:
        return type(error), str(error)


def same_result(theirs: Callable[[], Any], ours: Callable[[], Any]) -> None:
    """The same numbers or the same error."""
    outcomes = [outcome_of(theirs), outcome_of(ours)]
    assert outcomes[0][0] == outcomes[1][0]
    if outcomes[0][0] != "returned":
        assert outcomes[0][1] == outcomes[1][1]
    else:
        torch.testing.assert_close(outcomes[1][1], outcomes[0][1], **BITS)


ERRORS: dict[str, tuple[Callable[..., Any], Any]] = {
    "no_target": (NET, None),
    "an_output_that_needs_no_gradient": (lambda x: NET(x.detach())[:, 0].detach(), None),
    "an_unused_input": (lambda x: NET[0].weight.sum() + 0 * x.detach()[:, 0], None),
    "whole_numbers": (lambda x: NET(x).argmax(1), None),
    "complex_numbers": (lambda x: torch.complex(x, x).sum(1), None),
    "complex_numbers_with_a_target": (lambda x: torch.complex(x, x), 2),
    "no_dimension": (lambda x: NET(x).sum(), None),
    "no_rows": (lambda x: NET(x)[:0, 0], None),
    "a_tuple": (lambda x: (NET(x)[0, 0],), None),
    "a_list": (lambda x: [NET(x)], 1),
    "a_number": (lambda x: 1.0, None),
    "a_target_that_is_not_there": (NET, 7),
    "freed_before": (lambda x: _backed(NET(x)[:, 0]), None),
}


def _backed(output: Tensor) -> Tensor:
    output.sum().backward()
    return output


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("strategy", ["auto", "captum"])
def test_the_same_errors(name: str, strategy: Any) -> None:
    function, target = ERRORS[name]
    x = inputs(3)
    same_result(
        lambda: captum.attr.IntegratedGradients(function).attribute(x, target=target),
        lambda: XIntegratedGradients(function, strategy=strategy).attribute(x, target=target),
    )
    NET.zero_grad()


def test_an_unused_input_of_two() -> None:
    x = inputs(3), inputs(3)
    same_result(
        lambda: captum.attr.IntegratedGradients(lambda a, _: NET(a)).attribute(x, target=1),
        lambda: XIntegratedGradients(lambda a, _: NET(a)).attribute(x, target=1),
    )


def test_two_inputs() -> None:
    def function(a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
        return (NET(a) * b * scale).tanh()

    pair, scale = (inputs(4), torch.randn(4, 1)), torch.rand(4, 3)
    call = {"target": 1, "additional_forward_args": scale, "baselines": (0.1, pair[1][:1])}
    expected = captum.attr.IntegratedGradients(function).attribute(pair, **call)
    found = XIntegratedGradients(function, strategy="captum").attribute(pair, **call)
    torch.testing.assert_close(found, expected, **BITS)


def test_a_hook_on_the_output_sees_the_same_gradient_as_often() -> None:
    theirs, ours, x = Watched(), Watched(), inputs(5)
    expected = captum.attr.IntegratedGradients(theirs).attribute(x)
    found = XIntegratedGradients(ours, strategy="captum").attribute(x)
    torch.testing.assert_close(found, expected, **BITS)
    assert len(ours.seen) == len(theirs.seen) == 1
    torch.testing.assert_close(ours.seen[0][0], theirs.seen[0][0], **BITS)
    assert ours.seen[0][1] == theirs.seen[0][1]


def test_backward_hooks_of_modules_see_the_same() -> None:
    seen: dict[str, list[Tensor]] = {"theirs": [], "ours": []}
    net, x = tanh_mlp(), inputs(5)
    for name, kind in (
        ("theirs", captum.attr.IntegratedGradients(net)),
        ("ours", XIntegratedGradients(net, strategy="captum")),
    ):
        handle = net[2].register_full_backward_hook(
            lambda _module, _given, taken, name=name: seen[name].append(taken[0].clone())
        )
        kind.attribute(x, target=1)
        handle.remove()
    torch.testing.assert_close(seen["ours"], seen["theirs"], **BITS)


def test_a_gradient_function_of_the_users_own_is_used() -> None:
    xig, x = XIntegratedGradients(NET), inputs(3)
    own = xig.gradient_func
    xig.gradient_func = lambda **call: tuple(2 * g for g in own(**call))
    expected = 2 * captum.attr.IntegratedGradients(NET).attribute(x, target=1)
    torch.testing.assert_close(xig.attribute(x, target=1), expected, **BITS)


def test_captum_itself_is_as_it_was() -> None:
    from captum._utils import gradient

    assert gradient.torch is torch
    for kind in ("IntegratedGradients", "LayerConductance", "InternalInfluence"):
        assert getattr(captum.attr, kind)._attribute.__globals__["torch"] is torch
    with captum_xdnn.accelerate_captum():
        pass
    assert captum.attr.LayerConductance._attribute.__globals__["torch"] is torch


def test_the_second_derivative_is_that_of_each_output() -> None:
    x = inputs(4).requires_grad_()
    outputs = NET(x)[:, 1]
    at_once = gradient_of_each(outputs, (x,), create_graph=True)
    each = torch.autograd.grad(torch.unbind(outputs), (x,), create_graph=True)
    found = torch.autograd.grad(at_once[0].square().sum(), NET[0].weight, retain_graph=True)
    expected = torch.autograd.grad(each[0].square().sum(), NET[0].weight)
    torch.testing.assert_close(found, expected, **BITS)


PLACES: dict[str, Any] = {
    "places": [(0, 1), (2, 0), (-1, -2)],
    "not_there": [(0, 1), (2, 7), (1, 1)],
    "too_few": [(0, 1), (2, 0)],
    "shorter": [(0,), (2,), (1,)],
    "longer": [(0, 1, 0)] * 3,
    "of_other_lengths": [(0, 1), (2,), (1, 1)],
    "slices": [(0, slice(0, 1))] * 3,
    "flags": [(True, False)] * 3,
    "lists": [[0, 1]] * 3,
    "none": [(0, None)] * 3,
    "nothing": [],
}


@pytest.mark.parametrize("name", PLACES)
def test_a_place_for_each_row(name: str) -> None:
    net, x = nn.Sequential(tanh_mlp(), nn.Linear(3, 6), nn.Unflatten(1, (3, 2))), inputs(3)
    call = {"target": PLACES[name], "n_steps": 4}
    same_result(
        lambda: captum.attr.IntegratedGradients(net).attribute(x, **call),
        lambda: XIntegratedGradients(net, strategy="captum").attribute(x, **call),
    )


@pytest.mark.parametrize("name", ["IntegratedGradients", *NAMES])
def test_the_cost_grows_with_the_rows_and_not_with_their_square(name: str) -> None:
    case = Case(NET, NET[2], inputs(300))
    if name == "IntegratedGradients":
        ours: Any = XIntegratedGradients(NET, strategy="captum")
        theirs: Any = captum.attr.IntegratedGradients(NET)
        call: dict[str, Any] = {"target": 1, "n_steps": 30}
    else:
        ours, theirs = (method_of(name, case, ours=o) for o in (True, False))
        call = arguments_of(name, case, n_steps=30)

    def seconds(method: Any) -> float:
        start = time.process_time()
        method.attribute(case.inputs, **call)
        return time.process_time() - start

    assert min(seconds(ours) for _ in range(3)) * 4 < seconds(theirs)


@pytest.mark.filterwarnings("ignore:the certificate did not hold")
@pytest.mark.parametrize("bias", [False, True])
def test_a_function_in_the_place_of_torchs_is_called(
    bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    grad = torch.autograd.grad
    net, x = nn.Sequential(nn.Linear(6, 3, bias=bias), nn.ReLU()), inputs(4)
    xig = XIntegratedGradients(net)
    before = xig.attribute(x, target=1)
    doubled = lambda *args, **options: tuple(2 * g for g in grad(*args, **options))  # noqa: E731
    monkeypatch.setattr(torch.autograd, "grad", doubled)
    found = xig.attribute(x, target=1)
    expected = captum.attr.IntegratedGradients(net).attribute(x, target=1)
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, before)
