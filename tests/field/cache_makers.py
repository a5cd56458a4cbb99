"""Places where functions keep what they have made once: each gives a factor, and what is held."""

from __future__ import annotations

import collections
import functools
import itertools
import threading
import types
import weakref
from typing import Any

import torch
from torch import Tensor

HOLDERS: dict[str, Any] = {}


def holder(make):
    HOLDERS[make.__name__] = make
    return make


def ramp(width: int) -> Tensor:
    return torch.linspace(0.5, 1, width, dtype=torch.float64)


class _Class:
    table: dict[int, Tensor] = {}  # noqa: RUF012
    kept: Any = None


GLOBAL: dict[int, Tensor] = {}


# Each gives (what makes a factor of the width, what is held): the factor is made once and kept.
@holder
def closure_dict():
    table: dict[int, Tensor] = {}
    return lambda n, z: table.setdefault(n, ramp(n)), lambda: table


@holder
def closure_list():
    held: list[Tensor] = []

    def factor(n, z):
        if not held:
            held.append(ramp(n))
        return held[0]

    return factor, lambda: held


@holder
def nonlocal_name():
    kept = None

    def factor(n, z):
        nonlocal kept
        kept = ramp(n) if kept is None else kept
        return kept

    return factor, lambda: [kept]


@holder
def global_name():
    GLOBAL.clear()
    return lambda n, z: GLOBAL.setdefault(n, ramp(n)), lambda: GLOBAL


@holder
def class_attribute():
    _Class.kept = None

    def factor(n, z):
        if _Class.kept is None:
            _Class.kept = ramp(n)
        return _Class.kept

    return factor, lambda: [_Class.kept]


@holder
def class_table():
    _Class.table.clear()
    return lambda n, z: _Class.table.setdefault(n, ramp(n)), lambda: _Class.table


@holder
def function_attribute():
    def factor(n, z):
        if not hasattr(factor, "kept"):
            factor.kept = ramp(n)
        return factor.kept

    return factor, lambda: [factor.kept]


@holder
def default_argument():
    def factor(n, z, table={}):  # noqa: B006
        return table.setdefault(n, ramp(n))

    return factor, lambda: factor.__defaults__[0]


@holder
def lru_cache():
    cached = functools.lru_cache(ramp)
    return lambda n, z: cached(n), lambda: [cached(4)]


@holder
def cached_property():
    class Owner:
        factor = functools.cached_property(lambda self: ramp(4))

    owner = Owner()
    return lambda n, z: owner.factor, lambda: vars(owner)


@holder
def thread_local():
    local = threading.local()

    def factor(n, z):
        if not hasattr(local, "kept"):
            local.kept = ramp(n)
        return local.kept

    return factor, lambda: [local.kept]


@holder
def callable_object():
    class Maker:
        def __init__(self):
            self.table = {}

        def __call__(self, n, z):
            if n not in self.table:
                self.table[n] = ramp(n)
            return self.table[n]

    maker = Maker()
    return maker, lambda: maker.table


@holder
def module_of_python():
    package = types.ModuleType("holder")
    package.table = {}
    return lambda n, z: package.table.setdefault(n, ramp(n)), lambda: package.table


@holder
def weak_dict():
    class Box:
        def __init__(self, value):
            self.value = value

    table, kept = weakref.WeakValueDictionary(), []

    def factor(n, z):
        if n not in table:
            kept.append(Box(ramp(n)))
            table[n] = kept[-1]
        return table[n].value

    return factor, lambda: [box.value for box in table.values()]


@holder
def generator():
    def numbers():
        value = ramp(4)
        while True:
            yield value

    held = numbers()
    return lambda n, z: next(held), lambda: [next(held)]


@holder
def cycle():
    held = itertools.cycle([ramp(4)])
    return lambda n, z: next(held), lambda: [next(held)]


@holder
def keyed_by_a_weight():
    table = weakref.WeakKeyDictionary()

    class Key:
        pass

    key = Key()
    return lambda n, z: table.setdefault(key, ramp(n)), lambda: dict(table)


@holder
def history_list():
    held: list[Tensor] = []
    return lambda n, z: (held.append(z.detach()), 1.0)[1], lambda: held


@holder
def history_with_graph():
    held: collections.deque[Tensor] = collections.deque(maxlen=2)
    return lambda n, z: (held.append(z), 1.0)[1], lambda: held


@holder
def history_dict():
    held: dict[str, Tensor] = {}
    return lambda n, z: (held.update(last=z), 1.0)[1], lambda: held


@holder
def history_deque():
    held = collections.deque(maxlen=3)
    return lambda n, z: (held.appendleft(z.detach().mean(0)), 1.0)[1], lambda: held


@holder
def counter_of_calls():
    held = [torch.zeros((), dtype=torch.long)]
    return lambda n, z: (held[0].add_(1), 1.0)[1], lambda: held


@holder
def counter_number():
    counts = itertools.count()
    return lambda n, z: (next(counts), 1.0)[1], lambda: [torch.tensor(next(counts))]


@holder
def counter_of_names():
    held = collections.Counter()
    return lambda n, z: (held.update(["call"]), 1.0)[1], lambda: [torch.tensor(held["call"])]


@holder
def running_maximum():
    held = [torch.zeros(4, dtype=torch.float64)]

    def factor(n, z):
        held[0] = torch.maximum(held[0], z.detach().amax(0))
        return 1.0

    return factor, lambda: held
