"""Work that a mode of one thread does not see is never taken for a constant, and what is seen stays fast."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from comparing import compare, inputs, linear
from torch import Tensor, nn
from torch.nn import functional

from captum_xdnn import XIntegratedGradients
from captum_xdnn.homogeneity import certify

pytestmark = [
    pytest.mark.filterwarnings("ignore::captum_xdnn.errors.HomogeneityWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
]
POOL = ThreadPoolExecutor(1)


def _in_a_thread(work: Any) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


def _by_queue(z: Tensor) -> Tensor:
    asked, answered = queue.Queue(), queue.Queue()
    thread = threading.Thread(target=lambda: answered.put(asked.get() * 1))
    thread.start()
    asked.put(z)
    thread.join()
    return answered.get()


def _written_by_a_thread(z: Tensor) -> Tensor:
    result = torch.zeros_like(z)
    _in_a_thread(lambda: result.copy_(z))
    return result


def _empty_written_by_a_thread(z: Tensor) -> Tensor:
    result = torch.empty_like(z)
    _in_a_thread(lambda: result.copy_(z))
    return result


PARTS = {
    "thread": lambda z: _in_a_thread(lambda: z * 1),
    "pool": lambda z: POOL.submit(lambda: z * 1).result(),
    "pool_method": lambda z: POOL.submit(z.clone).result(),
    "pool_number": lambda z: POOL.submit(lambda: z.sum().item()).result(),
    "pool_numpy": lambda z: torch.from_numpy(POOL.submit(lambda: z.numpy() * 1).result()),
    "pool_list": lambda z: torch.tensor(POOL.submit(z.tolist).result(), dtype=z.dtype),
    "pool_map": lambda z: torch.stack(list(POOL.map(lambda row: row * 1, z))),
    "queue": _by_queue,
    "written_by_a_thread": _written_by_a_thread,
    "empty_written_by_a_thread": _empty_written_by_a_thread,
    "scripted_fork": lambda z: torch.jit.wait(torch.jit.fork(torch.mul, z, z.new_ones(()))),
    "backward": lambda z: _leaf_gradient(z, lambda y: torch.autograd.backward(y)),
    "tensor_backward": lambda z: _leaf_gradient(z, lambda y: y.backward()),
    "grad": lambda z: _graph_gradient(z),
    "hessian_product": lambda z: torch.autograd.functional.vjp(lambda a: (a * a).sum() / 2, z)[1],
    "func_grad": lambda z: torch.func.grad(lambda a: (a * a).sum() / 2)(z),
    "func_jvp": lambda z: torch.func.jvp(lambda a: a * a / 2, (z,), (torch.ones_like(z),))[1],
    "func_jacrev": lambda z: torch.func.vmap(torch.func.jacrev(lambda a: (a * a).sum() / 2))(z),
    "vmap": lambda z: torch.vmap(lambda row: row * 1)(z),
    "vmap_of_norm": lambda z: (
        torch.vmap(lambda row: row / row.norm())(z) * z.norm(dim=1, keepdim=True)
    ),
    "vmap_columns": lambda z: torch.vmap(lambda c: c * 1, in_dims=1, out_dims=1)(z),
}


def _leaf_gradient(z: Tensor, backward: Any) -> Tensor:
    with torch.enable_grad():
        leaf = z.detach().clone().requires_grad_()
        backward((leaf * leaf).sum() / 2)
    return leaf.grad


def _graph_gradient(z: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = z.detach().clone().requires_grad_()
        return torch.autograd.grad((leaf * leaf).sum() / 2, leaf)[0]


@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("kind", PARTS)
def test_work_elsewhere_is_no_constant(kind, rows, detached):
    first, last = linear(), linear(2, seed=1)
    if not detached and kind in ("pool_numpy", "pool_list", "pool_number"):
        pytest.skip("torch refuses to read what requires a gradient")

    def function(x: Tensor) -> Tensor:
        z = first(x).relu()
        return last(z * PARTS[kind](z.detach() if detached else z))

    explainer, x = XIntegratedGradients(function), inputs(rows)
    for factor in (1.0, 1.0, 1.7):
        compare(explainer, function, factor * x)
    if kind.startswith("pool"):
        assert explainer.last_route == "captum"
        assert not explainer.certificate.homogeneous


def _filled(fill: Any) -> Any:
    first, last = linear(), linear(2, seed=1)

    def function(x: Tensor) -> Tensor:
        z = first(x).relu()
        memory = torch.empty_like(z)
        fill(memory, z)
        return last(z + 0 * z if memory is None else memory)

    return function


WHOLE = {
    "copied": lambda m, z: m.copy_(z),
    "zeroed_first": lambda m, z: m.zero_().add_(z),
    "columns": lambda m, z: (m[:, :2].copy_(z[:, :2]), m[:, 2:].copy_(z[:, 2:])),
    "rows": lambda m, z: [m[i].copy_(z[i]) for i in range(len(z))],
    "assigned": lambda m, z: m.__setitem__(slice(None), z),
    "filled": lambda m, z: (m.fill_(2.0), m.mul_(z)),
    "transposed": lambda m, z: m.t().copy_(z.t()),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_memory_that_is_written_whole(kind):
    function = _filled(WHOLE[kind])
    explainer = XIntegratedGradients(function)
    for factor in (1.0, 1.7):
        compare(explainer, function, factor * inputs())


@pytest.mark.parametrize("make", [torch.empty_like, torch.Tensor.new_empty, torch.empty])
def test_memory_of_which_a_part_was_never_written_is_refused(make):
    first, last, kept = linear(), linear(2, seed=1), []

    def function(x: Tensor) -> Tensor:
        z = first(x).relu()
        if make is torch.empty_like:
            memory = make(z)
        else:
            memory = (
                make(z, z.shape) if make is torch.Tensor.new_empty else make(z.shape, dtype=z.dtype)
            )
        memory[:, :3] = z[:, :3]
        kept.append(memory)
        return last(memory.nan_to_num(0.0, 0.0, 0.0).clamp(-9, 9))

    explainer = XIntegratedGradients(function)
    explainer.attribute(inputs(), target=1)
    assert explainer.last_route != "single_pass"


def _scripted() -> Any:
    first, last = linear(), linear(2, seed=1)
    net = nn.Sequential(first, nn.ReLU(), last)
    return net, torch.jit.script(net)


@pytest.mark.parametrize("warm", [0, 3])
def test_scripted_networks_take_the_single_pass(warm):
    net, scripted = _scripted()
    for _ in range(warm):
        scripted(inputs().requires_grad_())
    explainer = XIntegratedGradients(scripted)
    for factor in (1.0, 1.4):
        compare(explainer, net, factor * inputs())
    assert explainer.last_route == "single_pass"


def test_traced_networks_take_the_single_pass():
    net, _ = _scripted()
    explainer = XIntegratedGradients(torch.jit.trace(net, inputs()))
    compare(explainer, net, inputs())
    assert explainer.last_route == "single_pass"


def test_scripted_code_that_decides_on_values():
    @torch.jit.script
    def decide(z: Tensor) -> Tensor:
        if bool(z.sum() > 1.0):
            z = z * 2.0
        return z

    first, last = linear(), linear(2, seed=1)
    function = lambda x: last(decide(first(x).relu()))  # noqa: E731
    explainer = XIntegratedGradients(function)
    for factor in (0.3, 1.0, 3.0, 0.3):
        compare(explainer, function, factor * inputs(1))


@pytest.mark.parametrize(
    "ask", [torch.compiler.is_compiling, torch.jit.is_scripting, torch.jit.is_tracing]
)
def test_the_function_is_not_told_that_it_is_compiled(ask):
    seen, layer = [], linear(2)

    def function(x: Tensor) -> Tensor:
        seen.append(ask())
        return layer(x).relu() if not ask() else layer(x).tanh()

    explainer = XIntegratedGradients(function, strategy="single_pass")
    compare(explainer, function, inputs())
    assert seen
    assert not any(seen)


class Doubled(Tensor):
    """A subclass whose products are not what their name says."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **(kwargs or {}))
            return result.square() if func in (torch.mul, Tensor.mul, Tensor.__mul__) else result


class Squared(Tensor):
    """A tensor with a dispatch of its own: it adds squares."""

    @staticmethod
    def __new__(cls, inner):
        return Tensor._make_wrapper_subclass(
            cls, inner.shape, dtype=inner.dtype, device=inner.device
        )

    def __init__(self, inner):
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        plain = [a.inner if isinstance(a, Squared) else a for a in args]
        result = func(*plain, **(kwargs or {}))
        return result.square() if func is torch.ops.aten.mul.Tensor else result


@pytest.mark.parametrize("subclass", [Doubled, Squared])
def test_subclasses_with_operations_of_their_own(subclass):
    first, last = linear(), linear(2, seed=1)
    weight = torch.rand(4, dtype=torch.float64)
    held = weight.as_subclass(Doubled) if subclass is Doubled else Squared(weight)

    def function(x: Tensor) -> Tensor:
        product = first(x).relu() * held
        return last(product.as_subclass(Tensor) if subclass is Doubled else product)

    explainer = XIntegratedGradients(function)
    for factor in (1.0, 1.7):
        compare(explainer, function, factor * inputs())


def test_a_tensor_kept_from_an_earlier_call_with_its_graph():
    """What was computed of the inputs outside of the run leads to them, and was not seen."""
    first, last, x = linear(), linear(2, seed=1), inputs()
    gate = POOL.submit(lambda: torch.rand(4, dtype=torch.float64)).result()
    function = lambda z: last(functional.relu(first(z)) * gate)  # noqa: E731
    explainer = XIntegratedGradients(function, strategy="single_pass")
    compare(explainer, function, x)


def test_memory_that_nobody_saw_being_written_is_what_the_certificate_names():
    last = linear(2)

    def function(x: Tensor) -> Tensor:
        return last(_empty_written_by_a_thread(x.detach()).relu()) + last(x.relu())

    reasons = {blocker.reason for blocker in certify(function, inputs(2)).blockers}
    assert "a tensor's memory is exchanged, or written where no operation shows it" in reasons
