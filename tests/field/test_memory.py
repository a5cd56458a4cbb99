"""What a call leaves in memory: nothing of a model, of an activation, of a new lambda or a new shape."""

from __future__ import annotations

import gc
import logging
import threading
import tracemalloc
import warnings
import weakref
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from comparing import compare, inputs, linear, network
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from captum_xdnn import XIntegratedGradients, XLayerConductance, certify

MODELS = 300
LIMIT = 5 * 2**20


class _Raising(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = linear(2)

    def forward(self, x: Tensor) -> Tensor:
        self.layer(x)
        message = "not today"
        raise ValueError(message)


class _Cycle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.act, self.itself = linear(2), nn.ReLU(), [self]

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.layer(x))


def _parametrized() -> nn.Module:
    net = network()
    parametrizations.weight_norm(net[0])
    return net


def _hooked() -> nn.Module:
    net = network()
    net[1].register_full_backward_hook(lambda m, i, o: None)
    net[1].register_forward_hook(lambda m, i, o: setattr(net, "features", o.detach()))
    return net


def _smooth() -> nn.Module:
    net = network(bias=True)
    net.append(nn.Softmax(1))
    return net


MAKERS = {
    "certified": network,
    "refused": lambda: nn.Sequential(linear(4, bias=True), nn.Tanh(), linear(2)),
    "hoisted": lambda: nn.Sequential(*network(), nn.Softmax(1)),
    "raising": _Raising,
    "parametrized": _parametrized,
    "cycle": _Cycle,
    "hooked": _hooked,
    "recurrent": lambda: nn.Sequential(nn.RNN(4, 2, nonlinearity="relu", bias=False).double()),
    "smooth": _smooth,
}


def _explained(kind: str) -> list[weakref.ref[Any]]:
    net = MAKERS[kind]()
    function = (lambda x: net[0](x.unsqueeze(0))[0][0]) if kind == "recurrent" else net
    if kind != "raising":
        certify(function, inputs())
    explainer = XIntegratedGradients(function)
    for _ in range(2):
        with pytest.raises(ValueError, match="today") if kind == "raising" else nullcontext():
            explainer.attribute(inputs(), target=1)
    if kind in ("certified", "parametrized", "cycle"):
        assert explainer.last_route == "single_pass"
        layer = net[0] if isinstance(net, nn.Sequential) else net.layer
        XLayerConductance(net, layer).attribute(inputs(), target=1)
    parameters = list(net.parameters())
    return [weakref.ref(net), weakref.ref(function), *map(weakref.ref, parameters)]


@pytest.mark.parametrize("kind", MAKERS)
def test_deleted_models_are_freed(kind):
    references = [r for _ in range(MODELS // len(MAKERS)) for r in _explained(kind)]
    gc.collect()
    alive = [r for r in references if r() is not None]
    assert not alive


def test_a_model_is_freed_at_once_without_the_collector():
    """As it is after a call of Captum's: nothing of ours makes a cycle through it."""
    gc.collect()
    gc.disable()
    try:
        net = network()
        explainer = XIntegratedGradients(net)
        explainer.attribute(inputs(), target=1)
        weight = weakref.ref(net[0].weight)
        del explainer, net
        assert weight() is None
    finally:
        gc.enable()


def _varied(calls: int) -> None:
    net = network()
    for call in range(calls):
        rows, shift = 1 + call % 7, call % 3
        x = inputs(rows, seed=call)
        which, kind = call // 7 % 5, call % 4
        if kind == 0:
            function = lambda x, c=which: net(x)[:, c % 2] * (1.0 + c)  # noqa: E731
            XIntegratedGradients(function).attribute(x)
        elif kind == 1:
            function = lambda x, scale: net(x) * scale  # noqa: E731
            XIntegratedGradients(function).attribute(
                x, target=1, additional_forward_args=(call / 7,)
            )
        elif kind == 2:
            function = lambda x, c=call: net(x * (1 + c)) + shift  # noqa: E731, B023
            XIntegratedGradients(function).attribute(x, target=0)
        else:
            table = torch.arange(1.0, 2.0 + call % 90, dtype=torch.float64)
            function = lambda x, t=table: net(x) * t.sum()  # noqa: E731
            XIntegratedGradients(function).attribute(x, target=1)


def _growth(calls: int) -> int:
    _varied(calls // 4)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        _varied(calls)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def test_a_thousand_calls_of_new_shapes_lambdas_and_numbers_do_not_grow():
    assert _growth(1000) < LIMIT


@pytest.mark.slow
def test_five_thousand_calls_do_not_grow():
    assert _growth(5000) < LIMIT


def test_one_explainer_with_ever_new_arguments_does_not_grow():
    net = network()
    explainer = XIntegratedGradients(lambda x, scale: net(x) * scale)

    def calls(count: int, start: int) -> None:
        for call in range(count):
            scale = 1.0 + (start + call) / 7
            explainer.attribute(inputs(), target=1, additional_forward_args=(scale,))

    calls(300, 0)
    gc.collect()
    tracemalloc.start()
    try:
        calls(700, 300)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < LIMIT
    finally:
        tracemalloc.stop()


def test_one_explainer_with_ever_new_tensors_as_arguments_does_not_keep_them():
    net, kept = network(), []
    explainer = XIntegratedGradients(lambda x, gate: net(x) * gate)
    for seed in range(30):
        gate = inputs(3, 2, seed)
        explainer.attribute(inputs(), target=1, additional_forward_args=(gate,))
        kept.append(weakref.ref(gate))
        del gate
    explainer.attribute(inputs(), target=1, additional_forward_args=(inputs(3, 2),))
    gc.collect()
    assert not [r for r in kept if r() is not None]


@pytest.mark.parametrize("kind", ["certified", "refused", "hoisted", "smooth"])
def test_no_activation_outlives_the_call(kind):
    net, seen = MAKERS[kind](), []

    def note(module: Any, given: Any, out: Tensor) -> None:
        seen.append(weakref.ref(out))

    for module in net:
        module.register_forward_hook(note)
    explainer = XIntegratedGradients(net)
    for _ in range(3):
        explainer.attribute(inputs(), target=1)
        gc.collect()
        alive = [r for r in seen if r() is not None]
        # The output may be kept for `last_outputs`.
        assert len(alive) <= (explainer.last_outputs is not None)
        seen.clear()


def test_tensors_can_be_swapped_after_a_call():
    net = network()
    explainer = XIntegratedGradients(net)
    compare(explainer, net, inputs())
    other = nn.Parameter(torch.rand_like(net[0].weight))
    torch.utils.swap_tensors(net[0].weight, other)
    compare(explainer, net, inputs())


@pytest.mark.parametrize("kind", ["certified", "refused", "hoisted", "hooked"])
def test_a_network_can_be_moved_by_swapping_after_a_call(kind):
    net = MAKERS[kind]()
    explainer = XIntegratedGradients(net)
    explainer.attribute(inputs(), target=1)
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        net.features = None
        net.to(torch.float32).to(torch.float64)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    explainer.attribute(inputs(), target=1)


def test_forty_first_calls_beside_a_training_loop():
    stop, errors, steps = threading.Event(), [], []
    trained = network(bias=True, seed=3)
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.01)

    def train() -> None:
        try:
            while not stop.is_set():
                optimizer.zero_grad()
                trained(inputs()).square().mean().backward()
                optimizer.step()
                warnings.warn("from the training loop", UserWarning, stacklevel=1)
                steps.append(1)
        except Exception as error:
            errors.append(error)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        thread = threading.Thread(target=train)
        thread.start()
        try:
            for seed in range(40):
                net = (
                    network(seed=seed)
                    if seed % 2
                    else nn.Sequential(linear(2, bias=True), nn.Tanh())
                )
                net.append(nn.ReLU()) if seed % 3 else None
                XIntegratedGradients(net).attribute(inputs(1 + seed), target=1)
        finally:
            stop.set()
            thread.join()
    assert not errors
    assert steps
    assert sum(str(w.message) == "from the training loop" for w in caught) == len(steps)


def test_first_calls_leave_the_state_of_python_as_it_was():
    filters, threads = list(warnings.filters), threading.active_count()
    level = logging.getLogger("torch").level
    grad, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    XIntegratedGradients(network()).attribute(inputs(), target=1)
    assert list(warnings.filters) == filters
    assert threading.active_count() == threads
    assert logging.getLogger("torch").level == level
    assert (torch.is_grad_enabled(), torch.get_default_dtype()) == (grad, dtype)
