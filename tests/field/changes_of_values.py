"""Ways to change what a function computes by what Python holds: each gives a function and the change."""

from __future__ import annotations

import contextvars
import dataclasses
import os
import threading
import types
from collections import deque

import numpy as np
import torch
from comparing import linear
from settings_makers import WIDE, change, of_holder, scaled, shifted
from torch import nn


class Settings:
    value = 0.0


@dataclasses.dataclass
class Record:
    value: float = 0.0


class Slotted:
    __slots__ = ("value",)


@change
def class_attribute():
    class Net(nn.Module):
        value = 0.0

        def __init__(self):
            super().__init__()
            self.first, self.last = linear(8), linear(2, seed=1, width=8)

        def forward(self, x):
            return self.last((self.first(x) + self.value).relu())

    return Net(), lambda: setattr(Net, "value", 0.5)


@change
def settings_class():
    return of_holder(Settings)


@change
def settings_object():
    return of_holder(Settings())


@change
def data_class():
    return of_holder(Record())


@change
def slots():
    return of_holder(Slotted())


@change
def nested_settings():
    outer = types.SimpleNamespace(inner=types.SimpleNamespace(deep=Record()))
    function, changed = of_holder(outer.inner.deep)
    return function, changed


@change
def nested_settings_exchanged():
    outer = types.SimpleNamespace(inner=Record(0.0))
    function = shifted(lambda: outer.inner.value)
    return function, lambda: setattr(outer, "inner", Record(0.6))


@change
def attribute_of_a_package():
    package = types.ModuleType("package_of_settings")
    return of_holder(package)


@change
def attribute_of_a_function():
    def holder():
        return None

    return of_holder(holder)


@change
def thread_local():
    return of_holder(threading.local())


@change
def array_in_closure():
    array = np.zeros(8)
    return shifted(lambda: torch.from_numpy(array)), lambda: array.fill(0.4)


@change
def array_as_numbers():
    array = np.ones(1)
    return scaled(lambda: float(array[0])), lambda: array.fill(0.4)


@change
def array_copied():
    array = np.zeros(8)
    return shifted(lambda: torch.tensor(array)), lambda: array.fill(0.4)


@change
def list_item():
    held = [0.0]
    return shifted(lambda: held[0]), lambda: held.__setitem__(0, 0.3)


@change
def list_of_lists():
    held = [[0.0]]
    return shifted(lambda: held[0][0]), lambda: held[0].__setitem__(0, 0.3)


@change
def list_longer():
    held: list[float] = []
    return shifted(lambda: sum(held)), lambda: held.append(0.3)


@change
def dictionary():
    held = {"value": 0.0}
    return shifted(lambda: held["value"]), lambda: held.update(value=0.3)


@change
def queue():
    held = deque([0.0, 0.5])
    return shifted(lambda: held[0]), held.reverse


@change
def set_of_names():
    held: set[str] = set()
    return shifted(lambda: 0.3 if "shift" in held else 0.0), lambda: held.add("shift")


@change
def environment():
    os.environ.pop("FIELD_SHIFT", None)
    read = lambda: float(os.environ.get("FIELD_SHIFT", "0"))  # noqa: E731
    return shifted(read), lambda: os.environ.__setitem__("FIELD_SHIFT", "0.4")


@change
def context_variable():
    variable = contextvars.ContextVar("shift", default=0.0)
    return shifted(variable.get), lambda: variable.set(0.4) and None


@change
def closure_cell():
    value = 0.0

    def rebind() -> None:
        nonlocal value
        value = 0.4

    return shifted(lambda: value), rebind


@change
def closure_tensor_exchanged():
    value = torch.zeros(8, dtype=WIDE)

    def rebind() -> None:
        nonlocal value
        value = torch.full((8,), 0.4, dtype=WIDE)

    return shifted(lambda: value), rebind


@change
def closure_tensor_written():
    value = torch.zeros(8, dtype=WIDE)
    return shifted(lambda: value), lambda: value.fill_(0.4)


@change
def closure_tensor_item():
    value = torch.zeros(1, dtype=WIDE)
    return shifted(lambda: value.item()), lambda: value.fill_(0.4)
