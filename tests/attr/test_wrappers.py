"""Models in wrappers: compiled, scripted, traced, parallel, and callables that are no modules."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from bias_free_networks import biased_mlp, conv_net, images, mlp, rows
from captum.attr import IntegratedGradients
from references import path_integral
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import XIntegratedGradients


@contextmanager
def deprecated_jit() -> Iterator[None]:
    """torch.jit warns of its deprecation, when it is used and when it is merely called."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        yield


def scripted(net: nn.Module, x: Tensor) -> Any:
    with deprecated_jit():
        return torch.jit.script(net)


def traced(net: nn.Module, x: Tensor) -> Any:
    with deprecated_jit():
        return torch.jit.trace(net, (x,))


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    yield
    torch._dynamo.reset()


WRAPPERS: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "torch.compile": lambda net, x: torch.compile(net, backend="eager"),
    "torch.compile of the method": lambda net, x: torch.compile(net.forward, backend="eager"),
    "module.compile()": lambda net, x: (net.compile(backend="eager"), net)[1],
    "DataParallel": lambda net, x: nn.DataParallel(net),
    "torch.jit.script": scripted,
    "torch.jit.trace": traced,
    "closure": lambda net, x: lambda z: net(z),
    "bound method": lambda net, x: net.forward,
    "partial": lambda net, x: functools.partial(apply, net),
    "partial of a method": lambda net, x: functools.partial(net.forward),
    "object with __call__": lambda net, x: Explained(net),
    "module in a module": lambda net, x: nn.Sequential(nn.Identity(), net),
    "decorated": lambda net, x: decorated(net),
}


def apply(net: nn.Module, z: Tensor) -> Tensor:
    return net(z)


class Explained:
    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def __call__(self, z: Tensor) -> Tensor:
        return self.net(z)


def decorated(net: nn.Module) -> Callable[[Tensor], Tensor]:
    @functools.wraps(net.forward)
    def wrapper(*args: Tensor) -> Tensor:
        return net(*args)

    return wrapper


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapped_homogeneous_network(name: str) -> None:
    net, x = mlp(), rows()
    function = WRAPPERS[name](net, x)
    xig = XIntegratedGradients(function)
    with deprecated_jit():
        ours = xig.attribute(x, target=1)
        again = xig.attribute(x[:3], target=1)
        theirs = IntegratedGradients(function).attribute(x, target=1, n_steps=1)
    assert_close(ours, path_integral(net, (x,), (0,), 1)[0], rtol=1e-6, atol=1e-9)
    assert_close(ours, theirs, rtol=1e-6, atol=1e-9)
    assert_close(again, ours[:3], rtol=1e-6, atol=1e-9)
    assert xig.last_route == "single_pass"


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapped_network_with_biases(name: str) -> None:
    net, x = biased_mlp(), rows()
    function = WRAPPERS[name](net, x)
    xig = XIntegratedGradients(function)
    with deprecated_jit():
        ours = xig.attribute(x, target=1, n_steps=4)
        theirs = IntegratedGradients(function).attribute(x, target=1, n_steps=4)
    assert xig.last_route != "single_pass"
    assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_a_model_that_holds_a_traced_part() -> None:
    net, x = mlp(), rows()
    with deprecated_jit():
        part = torch.jit.trace(net[:2], (x,))
        xig = XIntegratedGradients(nn.Sequential(part, net[2:]))
        ours = xig.attribute(x, target=1)
    assert xig.last_route == "single_pass"
    assert_close(ours, path_integral(net, (x,), (0,), 1)[0], rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("always_hoisted")
def test_a_bias_trained_inside_a_traced_model_is_seen() -> None:
    net, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).double(), rows()
    for layer in (net[0], net[2]):
        nn.init.zeros_(layer.bias)
    with deprecated_jit():
        function = torch.jit.trace(net, (x,))
        xig = XIntegratedGradients(function)
        xig.attribute(x, target=1)
        assert xig.last_route == "single_pass"
        with torch.no_grad():
            net[0].bias += 0.3
        ours = xig.attribute(x, target=1)
        assert xig.last_route == "hoisted"
        theirs = IntegratedGradients(function).attribute(x, target=1)
    assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_a_frozen_script() -> None:
    net, x = nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3)), rows().float()
    with deprecated_jit():
        function = torch.jit.freeze(torch.jit.script(net.eval()))
        xig = XIntegratedGradients(function)
        ours = xig.attribute(x, target=1)
    assert xig.last_route == "single_pass"
    expected = path_integral(net.double(), (x,), (0,), 1)[0]
    assert_close(ours.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("always_hoisted")
def test_a_data_parallel_model_with_hooks_of_its_own() -> None:
    net, x = nn.DataParallel(mlp()), rows()
    net.register_forward_hook(lambda module, args, output: output + 1)
    net.register_forward_hook(lambda module, args, output: torch.relu(output))
    xig = XIntegratedGradients(net)
    ours = xig.attribute(x, target=1)
    assert xig.last_route == "hoisted"
    theirs = IntegratedGradients(net).attribute(x, target=1)
    assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("build", [mlp, biased_mlp])
def test_keyword_only_and_variadic_functions(build: Callable[[], nn.Module]) -> None:
    net, x = build(), rows()

    def variadic(*args: Tensor, scale: float = 2.0) -> Tensor:
        return net(*args) * scale

    xig = XIntegratedGradients(variadic)
    ours = xig.attribute(x, target=1)
    assert xig.last_route == ("single_pass" if build is mlp else "hoisted")
    expected = IntegratedGradients(variadic).attribute(x, target=1)
    assert_close(ours, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_the_default_compiler() -> None:
    for net, data, route in (
        (mlp(), rows(), "single_pass"),
        (biased_mlp(), rows(), "captum"),
        (conv_net(), images(), "single_pass"),
    ):
        function = torch.compile(net)
        xig = XIntegratedGradients(function)
        ours = xig.attribute(data, target=1)
        theirs = IntegratedGradients(function).attribute(data, target=1)
        assert xig.last_route == route
        assert_close(ours, theirs, rtol=1e-6, atol=1e-9)
