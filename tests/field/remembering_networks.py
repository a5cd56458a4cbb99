"""Networks that remember: each reads in one call what it left in an earlier one."""

from __future__ import annotations

from typing import Any

import torch
from comparing import linear
from torch import Tensor, nn

NETWORKS: dict[str, Any] = {}


class Remembering(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inp, self.out = linear(), linear(2, seed=1)
        self.start()

    def start(self) -> None:
        """Make the state."""

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.step(self.inp(x)))


def ones() -> Tensor:
    return torch.ones(4, dtype=torch.float64)


def summary(z: Tensor) -> Tensor:
    return z.detach().abs().mean(0)


def network(table: dict[str, Any]) -> Any:
    def add(kind: Any) -> Any:
        table[kind.__name__] = kind
        return kind

    return add


@network(NETWORKS)
class OneTensor(Remembering):
    def start(self):
        self.h = ones()

    def step(self, z):
        y, self.h = z * self.h, 1 / (1 + summary(z))
        return y


@network(NETWORKS)
class NoneFirst(Remembering):
    def start(self):
        self.h = None

    def step(self, z):
        y = z if self.h is None else z + self.h
        self.h = z.detach()
        return y


@network(NETWORKS)
class Cell(Remembering):
    def start(self):
        torch.manual_seed(4)
        self.cell, self.hidden = nn.LSTMCell(4, 4).double(), None

    def step(self, z):
        h, c = self.cell(z, self.hidden)
        self.hidden = (h.detach(), c.detach())
        return h


@network(NETWORKS)
class TwoTensors(Remembering):
    def start(self):
        self.mean, self.gain = ones() * 0, ones()

    def step(self, z):
        y = z * self.gain
        self.mean = 0.5 * self.mean + 0.5 * y.detach().mean(0)
        self.gain = 1 / (1 + self.mean.abs())
        return y


@network(NETWORKS)
class ThreeTensors(Remembering):
    def start(self):
        self.a, self.b, self.c = ones(), ones(), ones()

    def step(self, z):
        y = z * self.c
        self.c, self.b, self.a = self.b, self.a, 1 / (1 + summary(z))
        return y


@network(NETWORKS)
class InADict(Remembering):
    def start(self):
        self.table = {}

    def step(self, z):
        y = z * self.table.get("g", 1.0)
        self.table["g"] = summary(z)
        return y


@network(NETWORKS)
class InAList(Remembering):
    def start(self):
        self.history = [ones()]

    def step(self, z):
        y = z * self.history[-1]
        self.history.append(summary(z))
        return y


@network(NETWORKS)
class InATuple(Remembering):
    def start(self):
        self.pair = (ones(), 1)

    def step(self, z):
        y = z * self.pair[0]
        self.pair = (summary(z), self.pair[1] + 1)
        return y


@network(NETWORKS)
class RingOfTensors(Remembering):
    def start(self):
        self.ring, self.place = torch.ones(3, 4, dtype=torch.float64), 0

    def step(self, z):
        y = z * self.ring[(self.place + 1) % 3]
        self.ring[self.place % 3] = summary(z)
        self.place += 1
        return y


@network(NETWORKS)
class BufferReplaced(Remembering):
    def start(self):
        self.register_buffer("g", ones())

    def step(self, z):
        y, self.g = z * self.g, summary(z)
        return y


@network(NETWORKS)
class BufferWritten(Remembering):
    def start(self):
        self.register_buffer("g", ones())

    def step(self, z):
        y = z * self.g.clone()
        self.g.mul_(0.5).add_(summary(z))
        return y


@network(NETWORKS)
class PythonNumber(Remembering):
    def start(self):
        self.g = 1.0

    def step(self, z):
        y, self.g = z * self.g, self.g / 2 + z.shape[0]
        return y


@network(NETWORKS)
class NumberOfWeights(Remembering):
    def start(self):
        self.ema = 0.0

    def step(self, z):
        y = z / (1 + self.ema)
        self.ema = 0.9 * self.ema + 0.1 * float(self.inp.weight.detach().abs().mean())
        return y


@network(NETWORKS)
class OfASubmodule(Remembering):
    def start(self):
        self.sub = nn.Identity()
        self.sub.g = ones()

    def step(self, z):
        y, self.sub.g = z * self.sub.g, summary(z)
        return y


@network(NETWORKS)
class ParameterData(Remembering):
    def start(self):
        self.g = nn.Parameter(ones())

    def step(self, z):
        y = z * self.g
        self.g.data = summary(z)
        return y


@network(NETWORKS)
class ParameterWritten(Remembering):
    def start(self):
        self.g = nn.Parameter(ones())

    def step(self, z):
        y = z * self.g.clone()
        self.g.data.copy_(summary(z))
        return y


@network(NETWORKS)
class BatchNorm(Remembering):
    def start(self):
        self.norm = nn.BatchNorm1d(4, momentum=0.5).double()

    def step(self, z):
        return self.norm(z)
