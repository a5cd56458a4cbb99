"""Containers of every class count as often as with Captum, and no code of theirs is called for it."""

from __future__ import annotations

import collections
from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients
from comparing import inputs, network
from torch import nn

from captum_xdnn import XIntegratedGradients
from captum_xdnn.recording.state import Noted


class Refuses:
    """Raises where the user's own methods are called; only what the run uses is not here."""

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError

    __eq__ = __iter__ = __len__ = __contains__ = clear = update = copy = extend = _refuse
    __hash__ = None
    keys = values = items = pop = remove = discard = add = setdefault = _refuse


class OwnList(Refuses, list): ...


class OwnDict(Refuses, dict): ...


class OwnOrdered(Refuses, collections.OrderedDict): ...


class OwnSet(Refuses, set): ...


class OwnDeque(Refuses, collections.deque): ...


class Needy(list):
    def __init__(self, needed: Any) -> None:
        super().__init__([needed])


class Key:
    def __eq__(self, other: Any) -> bool:
        raise AssertionError

    def __hash__(self) -> int:
        return id(self)


def appended(held: Any) -> None:
    list.append(held, 1)


def counted(held: Any) -> None:
    dict.__setitem__(held, "n", dict.get(held, "n", 0) + 1)


def ordered(held: Any) -> None:
    number = dict.get(held, "n", 0)
    collections.OrderedDict.__setitem__(held, "n", number + 1)
    collections.OrderedDict.move_to_end(held, "n", last=bool(number % 2))


def added(held: Any) -> None:
    set.add(held, set.__len__(held))


def pushed(held: Any) -> None:
    collections.deque.append(held, collections.deque.__len__(held))


def keyed(held: Any) -> None:
    dict.__setitem__(held, Key(), 1)


def nested(held: Any) -> None:
    held["n"].append(1)


MAKERS: dict[str, tuple[Any, Any]] = {
    "list": (list, appended),
    "own list": (OwnList, appended),
    "list with an argument": (lambda: Needy(2), appended),
    "dict": (dict, counted),
    "Counter": (collections.Counter, counted),
    "defaultdict": (lambda: collections.defaultdict(int), counted),
    "own dict": (OwnDict, counted),
    "keys that do not compare": (lambda: {Key(): 0}, keyed),
    "OrderedDict": (lambda: collections.OrderedDict(a=1), ordered),
    "own OrderedDict": (OwnOrdered, ordered),
    "set": (set, added),
    "own set": (OwnSet, added),
    "deque": (collections.deque, pushed),
    "deque with an end": (lambda: collections.deque([7, 8], maxlen=2), pushed),
    "own deque": (OwnDeque, pushed),
}
READ = (collections.OrderedDict.items, dict.items, list.__iter__, set.__iter__)


def content(held: Any) -> list[Any]:
    kinds = (collections.OrderedDict, dict, list, set, collections.deque)
    base: Any = next(kind for kind in kinds if issubclass(type(held), kind))
    found = list(base.items(held) if issubclass(base, dict) else base.__iter__(held))
    return [("key", v) if type(k) is Key else (k, v) for k, v in found] if base is dict else found


class Net(nn.Module):
    def __init__(self, held: Any, change: Any, *, bias: bool) -> None:
        super().__init__()
        self.net, self.held, self.change = network(bias=bias), held, change

    def forward(self, x):
        self.change(self.held)
        return self.net(x)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", MAKERS)
def test_containers_are_as_captum_leaves_them(kind: str, bias: bool) -> None:
    make, change = MAKERS[kind]
    found = []
    for method in (IntegratedGradients, XIntegratedGradients):
        net = Net(make(), change, bias=bias)
        explainer = method(net)
        found.append([])
        for seed in range(3):
            explainer.attribute(inputs(seed=seed), target=1, n_steps=4)
            found[-1].append(content(net.held))
    if bias or kind in ("list", "own list"):
        assert found[0] == found[1]
    assert [len(c) for c in found[0]] == [len(c) for c in found[1]]


@pytest.mark.parametrize("kind", MAKERS)
def test_a_run_is_taken_back_whole(kind: str) -> None:
    make, change = MAKERS[kind]
    held = make()
    net = Net(held, change, bias=False)
    change(held)
    before = content(held)
    noted = Noted(net)
    for _ in range(3):
        change(held)
    noted.close()
    assert noted.replaced() is not None
    noted.put_back()
    assert content(held) == before
    assert net.held is held


class Counting(nn.Module):
    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        self.count, self.net = 0, network(bias=bias)

    def forward(self, x):
        self.count += 1
        return self.net(x)


class Holding:
    """Calls networks that it holds somehow."""

    def __init__(self, held: Any, *, named: bool = False) -> None:
        self.held = held
        if named:
            self.base, self.layers = "resnet18", [1, 2]

    def __call__(self, x):
        held = list(self.held.values()) if isinstance(self.held, dict) else self.held
        return sum(m(x) for m in held)

    def method(self, x):
        return self(x)


class Pairs(tuple):
    def __iter__(self):
        return map(self.__getitem__, (0, 1))


HOLD: dict[str, Any] = {
    "list": list,
    "tuple": tuple,
    "own tuple": Pairs,
    "dict": lambda nets: dict(enumerate(nets)),
    "OrderedDict": lambda nets: collections.OrderedDict(zip("ab", nets, strict=True)),
    "ModuleList": nn.ModuleList,
    "methods": lambda nets: [m.forward for m in nets],
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("by", ["object", "named", "method", "closure"])
@pytest.mark.parametrize("how", HOLD)
def test_networks_in_containers_are_found(how: str, by: str, bias: bool) -> None:
    counts = []
    for method in (IntegratedGradients, XIntegratedGradients):
        nets = [Counting(bias=bias), Counting(bias=bias)]
        held = HOLD[how](nets)
        holder = Holding(held, named=by == "named")
        function: Any = {"method": holder.method}.get(by, holder)
        if by == "closure":
            all_of = list(held.values()) if isinstance(held, dict) else held

            def function(x, all_of=all_of):
                return sum(m(x) for m in all_of)

        explainer = method(function)
        for seed in range(2):
            explainer.attribute(inputs(seed=seed), target=1, n_steps=4)
        counts.append([net.count for net in nets])
    assert counts[0] == counts[1]


def test_what_is_among_the_arguments_can_be_noted() -> None:
    class Cache:
        def __init__(self) -> None:
            self.count, self.kept = 0, []

    net, sink, cache = Counting(bias=True), ["first"], Cache()
    noted = Noted(None, (sink, cache, net, 3, None, torch.rand(2), "text"))
    sink.append("run")
    cache.count += 1
    cache.kept.append("run")
    net(inputs())
    noted.close()
    noted.put_back()
    assert (sink, cache.count, cache.kept, net.count) == (["first"], 0, [], 0)
