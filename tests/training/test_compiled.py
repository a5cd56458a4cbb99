"""Training with ``torch.compile``: the step may be compiled, the attributions are not."""

from __future__ import annotations

import sys
import threading
import types
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo import eval_frame
from torch._dynamo.testing import CompileCounter
from torch.nn.functional import cross_entropy
from torch.testing import assert_close
from trained_networks import perceptron, rows

from captum_xdnn import XIntegratedGradients
from captum_xdnn._torch import compiled_frames
from captum_xdnn.priors import expected_gradients, gini_sparsity
from captum_xdnn.recording import compiling
from captum_xdnn.recording.compiling import uncompiled


def method(net: nn.Module) -> Callable[..., Any]:
    net.compile(backend="aot_eager")
    return net


FORMS: dict[str, Callable[[nn.Module], Callable[..., Any]]] = {
    "torch.compile(net)": lambda net: torch.compile(net, backend="aot_eager"),
    "net.compile()": method,
    "inside of a function": lambda net: _inside(torch.compile(net, backend="aot_eager")),
}


def _inside(compiled: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: compiled(x) * 2 / 2


@pytest.fixture(autouse=True)
def fresh() -> Any:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def gradients_of(function: Callable[..., Any], net: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    labels = torch.arange(len(x)) % 3
    attributions = XIntegratedGradients(function).attribute(x, target=labels, create_graph=True)
    loss = cross_entropy(function(x), labels) + gini_sparsity(attributions)
    return torch.autograd.grad(loss, list(net.parameters()))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_compiled_network(form: str, bias: bool) -> None:
    net, x = perceptron(bias=bias), rows()
    expected = gradients_of(net, net, x)
    found = gradients_of(FORMS[form](net), net, x)
    for mine, theirs in zip(found, expected, strict=True):
        assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def test_expected_gradients_of_a_compiled_network() -> None:
    net, x = perceptron(), rows()
    function = torch.compile(net, backend="aot_eager")
    found = []
    for f in (net, function):
        torch.manual_seed(3)
        attributions = expected_gradients(f, x, rows(7), target=1)
        found.append(torch.autograd.grad(attributions.square().sum(), net[0].weight))
    assert_close(found[1], found[0], rtol=1e-9, atol=1e-12)


# torch's compiler looks at `grad` of every tensor that comes out of code that it does not compile.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_compiled_loss() -> None:
    net, x, labels = perceptron(), rows(), torch.arange(5) % 3
    xig = XIntegratedGradients(net)

    def loss(x: Tensor) -> Tensor:
        attributions = xig.attribute(x, target=labels, create_graph=True)
        return cross_entropy(net(x), labels) + gini_sparsity(attributions)

    expected = torch.autograd.grad(loss(x), list(net.parameters()))
    counter = CompileCounter()
    compiled = torch.compile(loss, backend=counter)
    for _ in range(3):
        found = torch.autograd.grad(compiled(x), list(net.parameters()))
        assert xig.last_route == "single_pass"
        assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert counter.frame_count >= 1  # what is around the attribution is compiled


def test_the_rest_of_the_step_stays_compiled() -> None:
    net, x = perceptron(), rows()
    counter = CompileCounter()
    function = torch.compile(net, backend=counter)
    function(x)
    compiled = counter.frame_count
    assert compiled == 1
    gradients_of(function, net, x)
    gradients_of(function, net, x)
    assert counter.frame_count == compiled
    assert eval_frame._stance.stance == "default"


def test_the_stance_is_put_back() -> None:
    def fail() -> None:
        with uncompiled():
            assert eval_frame._stance.stance == "force_eager"
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert eval_frame._stance.stance == "default"
    with torch.compiler.set_stance("eager_on_recompile"):
        with uncompiled(), uncompiled():
            assert eval_frame._stance.stance == "force_eager"
        assert eval_frame._stance.stance == "eager_on_recompile"


def test_the_stance_is_put_back_by_the_last_of_several_threads() -> None:
    inside, done = threading.Barrier(4), threading.Barrier(4)
    seen = []

    def enter() -> None:
        with uncompiled():
            inside.wait(10)
            seen.append(eval_frame._stance.stance)
            done.wait(10)

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["force_eager"] * 4
    assert eval_frame._stance.stance == "default"


def test_what_was_attributed_first_is_compiled_afterwards() -> None:
    """Older compilers never compile again what they met first while a mode was on."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return torch.as_tensor(self.layer(x)).relu()

    counter = CompileCounter()
    net: Any = torch.compile(Net(), backend=counter)
    x = torch.rand(2, 4)
    xig = XIntegratedGradients(net)
    xig.attribute(x, target=0)
    assert xig.last_route == "single_pass"
    assert counter.frame_count == 0
    net(x)
    assert counter.frame_count == 1


def _in_parts(inner: nn.Module, count: CompileCounter) -> Callable[..., Any]:
    """Compiled in two graphs, with a function of the user's between them."""

    def between(x: Tensor) -> Tensor:
        return torch.relu(x) + x.abs()

    def parts(x: Tensor) -> Tensor:
        y = inner(x)
        torch._dynamo.graph_break()
        return between(y) * 2

    return torch.compile(parts, backend=count)


# Torch's own, at a tensor between two graphs.
@pytest.mark.filterwarnings("ignore:The .grad attribute")
@pytest.mark.parametrize("is_warm", [False, True])
def test_nothing_of_the_watch_is_compiled(is_warm: bool) -> None:
    count = CompileCounter()
    inner, head = perceptron(), nn.Linear(3, 3, bias=False).double()
    compiled = _in_parts(inner, count)
    function = lambda x: head(compiled(x))  # noqa: E731
    if is_warm:
        function(rows())
    known, total = count.frame_count, compiled_frames()
    xig = XIntegratedGradients(function)
    for _ in range(3):
        xig.attribute(rows(), target=1)
    assert xig.last_route == "single_pass"
    assert count.frame_count == known
    assert compiled_frames() == total
    function(rows())
    assert count.frame_count > 0


def test_the_compiler_is_asked_to_step_aside_inside_of_compiled_functions_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is loaded with torchvision; each operation of every network paid for it."""
    stepped: list[Any] = []
    shown = compiling._shown_apart()

    def apart(mode: Any, func: Any, *given: Any) -> Any:
        stepped.append(func)
        return shown(mode, func, *given)

    disable: Any = torch._dynamo.disable
    monkeypatch.setattr(compiling, "_shown_apart", lambda: disable(apart))
    plain, inner = perceptron(), perceptron()
    XIntegratedGradients(plain).attribute(rows(), target=1)
    assert not stepped
    XIntegratedGradients(torch.compile(inner, backend="eager")).attribute(rows(), target=1)
    assert stepped or compiling._SKIPS_FOR_GOOD  # then compiled functions run as written


def test_a_compiler_that_another_thread_is_importing_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An optimiser's first step imports it, for seconds, half of what it has is not there meanwhile."""
    half = types.ModuleType("torch._dynamo")
    half.__spec__ = ModuleSpec("torch._dynamo", None)
    half.__spec__._initializing = True  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch._dynamo", half)
    compiling._shown_apart.cache_clear()
    xig = XIntegratedGradients(perceptron())
    for options in ({}, {"create_graph": True}):
        xig.attribute(rows(), target=1, **options)
        assert xig.last_route == "single_pass"
    assert compiled_frames() == 0
