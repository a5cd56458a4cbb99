"""What a function keeps in objects, in nested containers and in cells of closures is as with Captum."""

from __future__ import annotations

import array
import functools
import threading
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from comparing import gap, inputs, linear, network
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients
from captum_xdnn.recording.contents import THOROUGH
from captum_xdnn.recording.state import Noted

MAKERS: dict[str, Callable[[bool], tuple[Any, Callable[[], Any]]]] = {}
"""Each gives a function, with biases or without, and what it keeps."""


def maker(make: Any) -> Any:
    MAKERS[make.__name__] = make
    return make


class Net(nn.Module):
    """Scales its hidden layer by what ``factor`` makes of that and of what it holds."""

    def __init__(self, held: Any, factor: Any, bias: bool) -> None:
        super().__init__()
        self.first, self.last = linear(8, bias=bias), linear(2, bias=bias, seed=1, width=8)
        self.held, self.factor = held, factor

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        return self.last((hidden * self.factor(self.held, hidden)).relu())


def scale_of(hidden: Tensor) -> Tensor:
    return 1 / hidden.detach().abs().amax()


class Scaler:
    """Without an attribute of its own, until the first call."""

    scale: Any = None

    def __call__(self, hidden: Tensor) -> Tensor:
        if self.scale is None:
            self.scale = scale_of(hidden)
        return self.scale


def called(held: Any, hidden: Tensor) -> Any:
    return held(hidden)


@maker
def helper_object(bias):
    scaler = Scaler()
    return Net(scaler, called, bias), lambda: vars(scaler)


@maker
def helpers_in_a_list(bias):
    scalers = [Scaler(), Scaler()]
    function = Net(scalers, lambda held, hidden: held[0](hidden) + held[1](hidden), bias)
    return function, lambda: [vars(s) for s in scalers]


@maker
def list_in_dict_in_dict(bias):
    held: Any = {"x": {"scales": []}}

    def factor(held, hidden):
        if not held["x"]["scales"]:
            held["x"]["scales"].append(scale_of(hidden))
        return held["x"]["scales"][0]

    return Net(held, factor, bias), lambda: held["x"]["scales"]


@maker
def counter_in_a_dict_in_a_dict(bias):
    held = {"a": {"n": 0}}

    def factor(held, hidden):
        held["a"]["n"] += 1
        return float(held["a"]["n"])

    return Net(held, factor, bias), lambda: held


@maker
def namespace_in_a_closure(bias):
    kept, net = types.SimpleNamespace(scale=None, calls=0), network(bias=bias)

    def function(x):
        kept.calls += 1
        if kept.scale is None:
            kept.scale = scale_of(x)
        return net(x * kept.scale)

    return function, lambda: kept.scale


@maker
def nonlocal_tensor(bias):
    scale, net = None, network(bias=bias)

    def function(x):
        nonlocal scale
        if scale is None:
            scale = scale_of(x)
        return net(x * scale)

    return function, lambda: scale


@maker
def nonlocal_counter(bias):
    count, net = 0, network(bias=bias)

    def function(x):
        nonlocal count
        count += 1
        return net(x) * count

    return function, lambda: count


@maker
def nonlocal_of_an_inner_function(bias):
    scale, net = 0.0, network(bias=bias)

    def made(x):
        nonlocal scale
        scale = scale or float(scale_of(x))
        return scale

    part = functools.partial(made)

    @functools.wraps(net.forward)
    def function(x, *, made=part):
        return net(x * made(x))

    return function, lambda: scale


@maker
def name_not_bound_yet(bias):
    net = network(bias=bias)

    def function(x):
        nonlocal scale
        try:
            return net(x * scale)
        except NameError:
            scale = scale_of(x)
        return net(x * scale)

    def kept():
        return scale

    if bias is None:  # never: the name is one of this function, and not bound
        scale = None
    return function, kept


@maker
def method_that_binds_a_name_outside(bias):
    scale = None

    class Binding(Net):
        def forward(self, x):
            nonlocal scale
            if scale is None:
                scale = scale_of(x)
            return super().forward(x * scale)

    return Binding(None, lambda held, hidden: 1.0, bias), lambda: scale


@maker
def attribute_of_the_function(bias):
    net = network(bias=bias)

    def function(x):
        if not hasattr(function, "scale"):
            function.scale = scale_of(x)
        return net(x * function.scale)

    return function, lambda: vars(function)


@maker
def generator_in_a_dict(bias):
    held = {"noise": np.random.default_rng(0)}
    function = Net(held, lambda held, hidden: float(held["noise"].random()) + 0.1, bias)
    return function, lambda: held["noise"].bit_generator.state["state"]["state"]


@maker
def generator_in_a_closure(bias):
    source, net = np.random.default_rng(0), network(bias=bias)
    state = lambda: source.bit_generator.state["state"]["state"]  # noqa: E731
    return lambda x: net(x) * (float(source.random()) + 0.1), state


@maker
def sobol_engine(bias):
    engine = torch.quasirandom.SobolEngine(8, scramble=True, seed=1)
    function = Net(engine, lambda held, hidden: held.draw(1, dtype=torch.float64) + 0.1, bias)
    return function, lambda: engine.num_generated


@maker
def module_in_a_plain_list(bias):
    class Lazy(nn.Module):
        def forward(self, hidden):
            if not hasattr(self, "scale"):
                self.register_buffer("scale", scale_of(hidden))
            return self.scale

    inner = nn.Sequential(Lazy())
    function = Net({"parts": [inner]}, lambda held, hidden: held["parts"][0](hidden), bias)
    return function, lambda: [dict(inner.named_buffers()), sorted(vars(inner[0]))]


@maker
def objects_in_a_cycle(bias):
    one, two = Scaler(), Scaler()
    one.other, two.other = two, one
    return Net(one, lambda held, hidden: held.other.other.other(hidden), bias), lambda: (
        one.scale,
        two.scale,
    )


def counted(held: Any, hidden: Tensor) -> float:
    held[0] += 1
    return float(held[0])


ARRAYS: dict[str, Any] = {
    "ndarray": lambda: np.zeros(1),
    "ndarray of a part": lambda: np.zeros((2, 2)).T[:, 1],
    "array": lambda: array.array("d", [0]),
    "bytearray": lambda: bytearray(1),
}


def array_maker(make: Any) -> Any:
    def made(bias):
        held = make()
        return Net(held, counted, bias), lambda: list(held)

    return made


MAKERS.update({f"counter in {name}": array_maker(make) for name, make in ARRAYS.items()})


def as_is(value: Any) -> Any:
    """A copy with nothing but numbers: two of equal functions can be compared."""
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {name: as_is(held) for name, held in value.items()}
    return [as_is(held) for held in value] if isinstance(value, list | tuple) else value


@pytest.mark.filterwarnings("ignore::captum_xdnn.errors.HomogeneityWarning")
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", MAKERS)
def test_numbers_and_state_are_those_of_captum(kind: str, bias: bool) -> None:
    answers, states, routes = [], [], []
    for method in (IntegratedGradients, XIntegratedGradients):
        function, kept = MAKERS[kind](bias)
        explainer = method(function)
        answers.append([])
        states.append([])
        for seed in range(4):
            answers[-1].append(explainer.attribute(inputs(seed=seed), target=1, n_steps=8))
            states[-1].append(as_is(kept()))
            routes.append(getattr(explainer, "last_route", ""))
    for call, (theirs, mine) in enumerate(zip(*answers, strict=True)):
        assert gap(mine, theirs) <= 1e-7, (call, routes)
    if routes[4:] == ["captum"] * 4:
        assert states[0] == states[1]


class Kept:
    def __init__(self) -> None:
        self.number, self.items, self.table = 0, [], {"a": {"b": []}}


def changed(kept: Kept, what: Any) -> None:
    kept.number += 1
    kept.items.append(what)
    kept.table["a"]["b"].append(what)
    kept.table["a"][what] = kept.late = what


class Holding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kept, self.more = Kept(), {"others": (Kept(),)}

    def forward(self, x: Any) -> Any:
        changed(self.kept, "run")
        changed(self.more["others"][0], "run")
        return x

    def state(self) -> Any:
        return as_is([vars(self.kept), vars(self.more["others"][0])])


def test_a_run_is_taken_back_whole() -> None:
    net = Holding()
    net.kept.more = net.more
    net("before")
    before, objects = net.state()[1], (net.kept, net.kept.table, net.kept.table["a"])
    noted = Noted(net)
    net("one")
    noted.close()
    net("two")  # a later run, of ours too
    noted.put_back()
    assert net.state()[1] == before
    assert (net.kept, net.kept.table, net.kept.table["a"]) == objects


def test_what_is_told_of_a_run() -> None:
    net, tensor = Holding(), torch.rand(2)
    net.kept.table["a"]["t"] = net.kept.state = tensor
    noted = Noted(net)
    net("run")
    net.kept.state = 2 * tensor
    noted.close()
    assert noted.changed()
    assert noted.plain_changed()
    assert id(tensor) in noted.replaced()
    assert any(t is tensor for t in noted.tensors())
    assert not noted.holds(tensor)  # the same is said of a run that is not noted deeply


def test_no_code_of_the_users_is_called_and_what_others_stand_for_is_left() -> None:
    class Refusing:
        def _refuse(self, *args: Any) -> Any:
            raise AssertionError

        __getattr__ = __eq__ = __iter__ = __len__ = __bool__ = __repr__ = _refuse
        __hash__ = None

    class Table(dict):
        __getitem__ = __iter__ = items = values = keys = __len__ = get = copy = Refusing._refuse

    net = nn.Module()
    refusing, table, lock = Refusing(), Table(), threading.Condition()
    net.held = [(refusing, table, lock, types.MappingProxyType(Table()))]
    vars(refusing)["n"] = 0
    noted = Noted(net)
    vars(refusing)["n"] = 1
    dict.__setitem__(table, "n", 1)
    lock.n = 1
    noted.close()
    noted.put_back()
    assert vars(refusing)["n"] == 0
    assert dict.__len__(table) == 0
    assert lock.n == 1  # a thing of threads


def test_so_many_are_noted_the_nearest_first() -> None:
    net = nn.Module()
    net.many = [[Kept()] for _ in range(THOROUGH.many)]
    net.near = Kept()
    noted = Noted(net)
    changed(net.near, "run")
    changed(net.many[-1][0], "run")
    noted.close()
    assert len(noted._nested) <= THOROUGH.many
    noted.put_back()
    assert (net.near.number, net.many[-1][0].number) == (0, 1)


def in_a_thread(work: Callable[[], Any]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def others(net: Holding) -> None:
    net.kept.items.append("other")
    net.kept.name = "other"


@pytest.mark.parametrize("when", ["in the run", "after it"])
def test_what_another_thread_changes_stays(when: str) -> None:
    net, stop = Holding(), threading.Event()
    count, done = 0, threading.Event()

    def function(x):
        nonlocal count
        count += 1
        return net(x)

    thread = threading.Thread(target=lambda: (others(net), done.set(), stop.wait()))
    noted = Noted(function)
    if when == "in the run":
        thread.start()
        done.wait()
    function("run")
    noted.close()
    if when == "after it":
        thread.start()
        done.wait()
    noted.put_back()
    stop.set()
    thread.join()
    assert net.kept.name == "other"
    assert count == 0
    assert net.kept.number == 0
    if when == "after it":
        assert net.kept.items == ["other"]
