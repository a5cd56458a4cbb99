"""Ways to change what a function computes by its code and by how Python finds what it reads."""

from __future__ import annotations

import functools
import random
from typing import Any

import numpy as np
from comparing import linear
from settings_makers import change, shifted
from torch import Tensor
from torch.nn import functional

GLOBAL_SHIFT = 0.0


@change
def global_constant():
    globals()["GLOBAL_SHIFT"] = 0.0
    return shifted(lambda: GLOBAL_SHIFT), lambda: globals().update(GLOBAL_SHIFT=0.4)


@change
def default_argument():
    def read(value: float = 0.0) -> float:
        return value

    return shifted(read), lambda: setattr(read, "__defaults__", (0.4,))


@change
def keyword_default():
    def read(*, value: float = 0.0) -> float:
        return value

    return shifted(read), lambda: setattr(read, "__kwdefaults__", {"value": 0.4})


@change
def code_exchanged():
    def read() -> float:
        return 0.0

    def other() -> float:
        return 0.4

    return shifted(read), lambda: setattr(read, "__code__", other.__code__)


@change
def partial_arguments():
    first, last = linear(8), linear(2, seed=1, width=8)

    def function(x: Tensor, shift: float) -> Tensor:
        return last((first(x) + shift).relu())

    held = functools.partial(function, shift=0.0)
    return held, lambda: held.keywords.update(shift=0.4)


@change
def partial_set():
    first, last = linear(8), linear(2, seed=1, width=8)
    held = functools.partial(lambda shift, x: last((first(x) + shift).relu()), 0.0)
    return held, lambda: held.__setstate__((held.func, (0.4,), {}, None))


@change
def python_property():
    class Holder:
        held = 0.0
        value = property(lambda self: self.held)

    holder = Holder()
    return shifted(lambda: holder.value), lambda: setattr(holder, "held", 0.4)


@change
def property_exchanged():
    class Holder:
        value = property(lambda self: 0.0)

    holder = Holder()
    return shifted(lambda: holder.value), lambda: setattr(
        Holder, "value", property(lambda self: 0.4)
    )


@change
def getattr_of_a_class():
    class Holder:
        held = 0.0

        def __getattr__(self, name: str) -> float:
            return Holder.held

    holder = Holder()
    return shifted(lambda: holder.anything), lambda: setattr(Holder, "held", 0.4)


@change
def descriptor():
    class Reading:
        number = 0.0

        def __get__(self, owner: Any, kind: Any) -> float:
            return self.number

    class Holder:
        value = Reading()

    holder = Holder()
    return shifted(lambda: holder.value), lambda: setattr(Reading, "number", 0.4)


@change
def class_of_an_object():
    class One:
        def read(self) -> float:
            return 0.0

    class Two(One):
        def read(self) -> float:
            return 0.4

    holder = One()
    return shifted(lambda: holder.read()), lambda: setattr(holder, "__class__", Two)


@change
def method_replaced():
    class Holder:
        def read(self) -> float:
            return 0.0

    holder = Holder()
    return shifted(lambda: holder.read()), lambda: setattr(holder, "read", lambda: 0.4)


@change
def static_method_replaced():
    class Holder:
        read = staticmethod(lambda: 0.0)

    return shifted(lambda: Holder.read()), lambda: setattr(
        Holder, "read", staticmethod(lambda: 0.4)
    )


@change
def cached_value():
    values = [0.0]
    read = functools.lru_cache(lambda: values[0])

    def clear() -> None:
        values[0] = 0.4
        read.cache_clear()

    return shifted(lambda: read()), clear


@change
def generator_sent():
    def numbers():
        value = 0.0
        while True:
            value = (yield value) or value

    held = numbers()
    next(held)
    return shifted(lambda: held.send(None)), lambda: held.send(0.4) and None


@change
def random_seeded_branch():
    seeds = [1]
    read = lambda: 0.0 if random.Random(seeds[0]).random() < 0.5 else 0.4  # noqa: E731
    return shifted(read), lambda: seeds.__setitem__(0, 2)


@change
def numpy_seeded_branch():
    seeds = [1]
    read = lambda: 0.0 if np.random.default_rng(seeds[0]).random() > 0.3 else 0.4  # noqa: E731
    return shifted(read), lambda: seeds.__setitem__(0, 2)


@change
def function_of_a_table():
    table = {"relu": functional.relu}
    layer, last = linear(8), linear(2, seed=1, width=8)
    function = lambda x: last(table["relu"](layer(x)))  # noqa: E731
    return function, lambda: table.update(relu=functional.softplus)
