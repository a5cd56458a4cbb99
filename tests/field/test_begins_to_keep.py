"""Functions that begin to keep something after a fast call, or keep it in a way of their own in the first."""

from __future__ import annotations

import collections
import contextvars
import queue
import random
import sys
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

import captum.attr
import numpy as np
import outside
import pytest
import torch
from comparing import gap, inputs, linear
from torch import Tensor, nn

import captum_xdnn
from captum_xdnn import XIntegratedGradients

COUNT = 0
KEPT: list[Tensor] = []
TABLE: dict[str, Any] = {}
VARIABLE: contextvars.ContextVar[int] = contextvars.ContextVar("VARIABLE", default=0)
LOCAL = threading.local()
BY_KEY: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
WAITING: queue.Queue[int] = queue.Queue()


class Key:
    """What a weak reference may be of."""


KEY = Key()


class Slotted:
    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


class Statistics:
    number = 0
    held: Any = None


def of_the_class() -> int:
    Statistics.number += 1
    return Statistics.number


def of_the_module() -> int:
    global COUNT
    COUNT += 1
    return COUNT


def of_a_context() -> int:
    VARIABLE.set(VARIABLE.get() + 1)
    return VARIABLE.get()


def of_a_thread() -> int:
    LOCAL.number = getattr(LOCAL, "number", 0) + 1
    return int(LOCAL.number)


def by_weak_key() -> int:
    BY_KEY[KEY] = BY_KEY.get(KEY, 0) + 1
    return BY_KEY[KEY]


def in_a_queue() -> int:
    WAITING.put(1)
    return WAITING.qsize()


def of_slots() -> Callable[[], int]:
    held = Slotted()

    def count() -> int:
        held.number += 1
        return held.number

    return count


def of_an_object() -> Callable[[], int]:
    held = Statistics()

    def count() -> int:
        held.number += 1
        return held.number

    return count


def by_a_bound_method() -> Callable[[], int]:
    return list(range(100, 0, -1)).pop


def by_dice() -> Callable[[], float]:
    return random.random


def by_numpys_dice() -> Callable[[], float]:
    return np.random.random_sample  # type: ignore[return-value]


COUNTERS: dict[str, Callable[[], Callable[[], float]]] = {
    "class": lambda: of_the_class,
    "module": lambda: of_the_module,
    "context": lambda: of_a_context,
    "thread": lambda: of_a_thread,
    "weak key": lambda: by_weak_key,
    "queue": lambda: in_a_queue,
    "slots": of_slots,
    "object": of_an_object,
    "bound method": by_a_bound_method,
    "random": by_dice,
    "numpy": by_numpys_dice,
}


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    forget()


def forget() -> None:
    global COUNT
    COUNT = Statistics.number = 0
    VARIABLE.set(0)
    LOCAL.__dict__.clear()
    KEPT.clear()
    TABLE.clear()
    BY_KEY.clear()
    while not WAITING.empty():
        WAITING.get()


class Net(nn.Module):
    """Without biases in evaluation; in training it counts, and the count decides what it gives."""

    def __init__(self, count: Callable[[], float]) -> None:
        super().__init__()
        self.first, self.last = linear(8, bias=False), linear(2, bias=False, seed=1, width=8)
        self.count = [count]

    def forward(self, x: Tensor) -> Tensor:
        z = self.last(self.first(x).relu())
        return z.tanh() * self.count[0]() if self.training else z


@pytest.mark.parametrize("name", COUNTERS)
@pytest.mark.parametrize("fast", [0, 1, 3])
def test_what_begins_after_fast_calls(name: str, fast: int) -> None:
    def numbers(kind: Any) -> list[Tensor]:
        forget()
        net = Net(COUNTERS[name]()).eval()
        method, found = kind(net), []
        for call in range(fast + 3):
            random.seed(3)
            np.random.seed(3)
            net.train(call >= fast)
            found.append(method.attribute(inputs(), target=1, n_steps=20))
            found.append(torch.tensor([random.random(), np.random.random_sample()]))
        return found

    expected, found = numbers(captum.attr.IntegratedGradients), numbers(XIntegratedGradients)
    for one, other in zip(found, expected, strict=True):
        assert gap(one, other) <= 1e-7


RECORDERS: dict[str, tuple[Callable[[Tensor], Any], Callable[[], int]]] = {
    "a global list": (KEPT.append, lambda: len(KEPT)),
    "at the front": (lambda t: KEPT.insert(0, t), lambda: len(KEPT)),
    "by number": (lambda t: TABLE.__setitem__(str(len(TABLE)), t), lambda: len(TABLE)),
    "a list by name": (
        lambda t: TABLE.setdefault("fc", []).append(t),
        lambda: len(TABLE.get("fc", [])),
    ),
    "a tuple": (
        lambda t: TABLE.update(fc=(*TABLE.get("fc", ()), t)),
        lambda: len(TABLE.get("fc", ())),
    ),
    "of the class": (
        lambda t: setattr(Statistics, "held", [*(Statistics.held or []), t]),
        lambda: len(Statistics.held or []),
    ),
}


@pytest.mark.parametrize("name", RECORDERS)
@pytest.mark.parametrize("fast", [0, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_a_recording_hook_sees_what_captums_pass_shows_it(name: str, fast: int, bias: bool) -> None:
    record, count = RECORDERS[name]
    net = nn.Sequential(
        linear(8, bias=bias), nn.Tanh() if bias else nn.ReLU(), linear(2, bias=bias, width=8)
    )
    xig = XIntegratedGradients(net)
    Statistics.held = None
    for _ in range(fast):
        xig.attribute(inputs(), target=1)
    with net[0].register_forward_hook(lambda _m, _i, output: (record(output.detach()), None)[1]):
        for call in (1, 2, 3):
            xig.attribute(inputs(), target=1)
            assert count() == call
    assert xig.last_route == ("captum" if bias else "single_pass")


def test_a_defaultdict_of_lists() -> None:
    kept: Any = collections.defaultdict(list)
    net = nn.Sequential(linear(8, bias=False), nn.ReLU(), linear(2, bias=False, width=8))
    net[0].register_forward_hook(lambda _m, _i, output: kept["fc"].append(output.detach()))
    XIntegratedGradients(net).attribute(inputs(), target=1)
    assert [len(t) for t in kept["fc"]] == [len(inputs())]


@pytest.mark.parametrize("kind", ["appended", "replaced"])
def test_a_counter_beside_a_list_of_one_number(kind: str) -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.calls, self.last = linear(2, bias=False), 0, [0.0]

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            if kind == "appended":
                self.last.append(float(self.calls))
            else:
                self.last[0] = float(self.calls)
            return self.net(x)

    net = Counting()
    XIntegratedGradients(net).attribute(inputs(), target=1)
    assert (net.calls, net.last) == (1, [0.0, 1.0] if kind == "appended" else [1.0])


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_budget_of_calls(most: int) -> None:
    class Budget(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.calls = linear(2, bias=False), 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            if self.calls > most:
                message = "no more calls"
                raise ValueError(message)
            return self.net(x)

    net = Budget()
    xig = XIntegratedGradients(net)
    for call in range(most):
        xig.attribute(inputs(), target=1)
        assert net.calls == call + 1
    with pytest.raises(ValueError, match="no more calls"):
        xig.attribute(inputs(), target=1)


HOLDERS: dict[str, Callable[[Tensor], Any]] = {
    "itself": lambda x: x,
    "in a list": lambda x: [x],
    "in a pair": lambda x: (x, 1),
    "in a dict in a list": lambda x: [{"x": x}],
}


def first_tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    return first_tensor(next(iter(value.values() if isinstance(value, dict) else value)))


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("bias", [False, True])
def test_a_function_that_reads_the_input_of_its_last_call(holder: str, bias: bool) -> None:
    """The second call reads what the first, fast one has left; from then on all are Captum's."""

    def numbers(kind: Any) -> list[Tensor]:
        state: dict[str, Any] = {}
        net = nn.Sequential(linear(8, bias=bias), nn.ReLU(), linear(2, bias=bias, width=8))

        def function(x: Tensor) -> Tensor:
            y = net(x)
            if state:
                y = y * first_tensor(state["x"]).detach().abs().mean()
            state["x"] = HOLDERS[holder](x)
            return y

        method = kind(function)
        return [method.attribute(n * inputs(), target=1) for n in (1, 2, 3, 4, 5)]

    expected, found = numbers(captum.attr.IntegratedGradients), numbers(XIntegratedGradients)
    for call in (2, 3, 4):
        torch.testing.assert_close(found[call], expected[call], rtol=1e-12, atol=1e-12)


class Freezing(nn.Module):
    """Marks its first pass by freezing a weight, or turns that with each."""

    def __init__(self, bend: Any, *, turns: bool) -> None:
        super().__init__()
        self.first, self.bend, self.turns = linear(8, bias=False), bend, turns
        self.last = linear(2, bias=False, width=8)

    def forward(self, x: Tensor) -> Tensor:
        weight, z = self.first.weight, self.last(self.bend(self.first(x)))
        if weight.requires_grad:
            weight.requires_grad_(False)
            return 2 * z
        weight.requires_grad_(self.turns)
        return z


@pytest.mark.parametrize("turns", [False, True])
@pytest.mark.parametrize("bend", [torch.relu, torch.tanh])
def test_what_a_function_freezes(bend: Any, turns: bool) -> None:
    def numbers(kind: Any) -> list[Tensor]:
        net = Freezing(bend, turns=turns)
        method, found = kind(net), []
        for _ in range(4):
            found.append(method.attribute(inputs(), target=1))
            found.append(torch.tensor(float(net.first.weight.requires_grad)))
        return found

    expected, found = numbers(captum.attr.IntegratedGradients), numbers(XIntegratedGradients)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_an_explainers_function_exchanged() -> None:
    net = nn.Sequential(linear(8, bias=False), nn.ReLU(), linear(2, bias=False, width=8))
    found = []
    for package, prefix in ((captum.attr, ""), (captum_xdnn, "X")):
        method = getattr(package, f"{prefix}LayerIntegratedGradients")(net, net[0])
        method.attribute(inputs(), target=1)
        method.forward_func = lambda x: 2 * net(3 * x)
        found.append(method.attribute(inputs(), target=1))
    torch.testing.assert_close(*found)


INSTALLED = """
import outside

IS_REGISTERED = False

class Registry:
    is_filled = False

def helper(x):
    global IS_REGISTERED
    if not IS_REGISTERED:
        outside.seen.append("registered")
        IS_REGISTERED = True
    if not Registry.is_filled:
        outside.seen.append("filled")
        Registry.is_filled = True
    return x.tanh()
"""


def test_what_an_installed_package_registers_once_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    package: Any = types.ModuleType("installed")
    package.__file__ = "/somewhere/site-packages/installed.py"
    monkeypatch.setitem(sys.modules, "installed", package)
    exec(INSTALLED, package.__dict__)
    outside.seen.clear()
    net = linear(2, bias=True)
    helper = package.helper
    XIntegratedGradients(lambda x: helper(net(x))).attribute(inputs(), target=1)
    assert outside.seen == ["registered", "filled"]
