"""Networks whose state lies deeper than attributes, is read late, or is read by nothing."""

from __future__ import annotations

import collections
import types
from typing import Any

import torch
from remembering_networks import Remembering, network, ones, summary

LATE: dict[str, Any] = {}
WRITING: dict[str, Any] = {}


# Deeper than the attributes of modules: wrong numbers never, the state as Captum leaves it not promised.
@network(LATE)
class NestedDict(Remembering):
    def start(self):
        self.table = {"in": {}}

    def step(self, z):
        y = z * self.table["in"].get("g", 1.0)
        self.table["in"]["g"] = summary(z)
        return y


@network(LATE)
class NestedList(Remembering):
    def start(self):
        self.h = [[ones()]]

    def step(self, z):
        y, self.h[0][0] = z * self.h[0][0], summary(z)
        return y


@network(LATE)
class PlainObject(Remembering):
    def start(self):
        self.held = types.SimpleNamespace(g=ones())

    def step(self, z):
        y, self.held.g = z * self.held.g, summary(z)
        return y


class _Slots:
    __slots__ = ("g",)


@network(LATE)
class SlottedObject(Remembering):
    def start(self):
        self.held = _Slots()
        self.held.g = ones()

    def step(self, z):
        y, self.held.g = z * self.held.g, summary(z)
        return y


@network(LATE)
class ClassAttribute(Remembering):
    def start(self):
        type(self).G = ones()

    def step(self, z):
        y, type(self).G = z * self.G, summary(z)
        return y


@network(LATE)
class ReadFromTheThirdCallOn(Remembering):
    def start(self):
        self.k, self.m = 0, ones()

    def step(self, z):
        self.k += 1
        y = z * self.m if self.k >= 3 else z
        self.m = summary(z)
        return y


@network(LATE)
class ReadLaterByTheSameOperations(Remembering):
    def start(self):
        self.k, self.m, self.one = 0, ones(), ones()

    def step(self, z):
        self.k += 1
        y = z * (self.m if self.k >= 3 else self.one)
        self.m = summary(z)
        return y


@network(LATE)
class ListReadLater(Remembering):
    def start(self):
        self.history = []

    def step(self, z):
        y = z * self.history[-3] if len(self.history) >= 3 else z
        self.history.append(summary(z))
        return y


@network(LATE)
class DequeReadLater(Remembering):
    def start(self):
        self.history = collections.deque(maxlen=3)

    def step(self, z):
        y = z * self.history[0] if len(self.history) >= 3 else z
        self.history.append(summary(z))
        return y


@network(LATE)
class ThreeNoneFirst(Remembering):
    def start(self):
        self.a = self.b = self.c = None

    def step(self, z):
        y = z if self.c is None else z * self.c
        self.c, self.b, self.a = self.b, self.a, summary(z)
        return y


@network(WRITING)
class WritesAnAttribute(Remembering):
    def step(self, z):
        self.features = z.detach()
        return z


@network(WRITING)
class WritesWithGraph(Remembering):
    def step(self, z):
        self.features = z
        return z


@network(WRITING)
class WritesABuffer(Remembering):
    def start(self):
        self.register_buffer("last", ones())

    def step(self, z):
        self.last.copy_(z.detach().mean(0))
        return z


@network(WRITING)
class WritesAList(Remembering):
    def start(self):
        self.features = []

    def step(self, z):
        self.features.append(z.detach())
        return z


@network(WRITING)
class WritesADict(Remembering):
    def start(self):
        self.features = {}

    def step(self, z):
        self.features["z"] = z.detach()
        return z


@network(WRITING)
class Counts(Remembering):
    def start(self):
        self.calls = 0
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def step(self, z):
        self.calls += 1
        self.count += 1
        return z


@network(WRITING)
class RunningStatistic(Remembering):
    def start(self):
        self.mean = ones()

    def step(self, z):
        self.mean = 0.9 * self.mean + 0.1 * summary(z)
        return z
