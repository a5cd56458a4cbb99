"""Calls that are wrong or odd: a name, how the network is wrapped, and the arguments."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Wrap = Callable[[nn.Module], Any]


@dataclass(frozen=True)
class Wrong:
    """A call of ``attribute``; ``arguments`` are made anew for each use."""

    arguments: Callable[[], dict[str, Any]]
    wrap: Wrap = field(default=lambda net: net)


def outcome(method: Any, wrong: Wrong, **more: Any) -> Any:
    """The attributions, or the exception."""
    arguments = {"n_steps": 4, **wrong.arguments(), **more}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return method.attribute(**arguments)
        except Exception as error:
            return error


def x(batch: int = 4, features: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(batch, features, dtype=torch.float64, generator=generator)


def given(**arguments: Any) -> Wrong:
    """A call with a right input and target, unless others are given."""
    return Wrong(lambda: {"inputs": x(), "target": 1, **arguments})


def explaining(wrap: Wrap, **arguments: Any) -> Wrong:
    return Wrong(lambda: {"inputs": x(), **arguments}, wrap)


def raising(error: Exception) -> Wrap:
    def wrap(net: nn.Module) -> Callable[[Tensor], Tensor]:
        def function(z: Tensor) -> Tensor:
            raise error

        return function

    return wrap


def without_gradient(net: nn.Module) -> Callable[[Tensor], Tensor]:
    def function(z: Tensor) -> Tensor:
        with torch.no_grad():
            return net(z)

    return function


def in_place(net: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda z: net(z.mul_(2))


INPUTS = {
    "list of tensors": given(inputs=[x()]),
    "numpy array": given(inputs=np.zeros((4, 6))),
    "None": given(inputs=None),
    "string": given(inputs="image"),
    "number": given(inputs=3.0),
    "empty tuple": given(inputs=()),
    "list in a tuple": given(inputs=([1.0, 2.0],)),
    "None in a tuple": given(inputs=(None,)),
    "empty batch": given(inputs=x(0)),
    "empty batch, bounded": given(inputs=x(0), internal_batch_size=2),
    "no features": given(inputs=x(4, 0)),
    "no batch": given(inputs=x(1)[0]),
    "0-d": given(inputs=torch.tensor(1.0)),
    "too many features": given(inputs=x(4, 7)),
    "bool": given(inputs=x() > 0),
    "bool with a bool baseline": given(inputs=x() > 0, baselines=False),
    "float32 for a float64 network": given(inputs=x().float()),
    "int64": given(inputs=x().long()),
    "complex": given(inputs=x().to(torch.complex128)),
    "sparse": given(inputs=x().to_sparse()),
    "meta": given(inputs=x().to("meta")),
    "two for one": given(inputs=(x(), x())),
    "different batches": explaining(lambda net: lambda a, b: net(a + b), inputs=(x(4), x(3))),
    "batch of one beside four": explaining(
        lambda net: lambda a, b: net(a + b), inputs=(x(4), x(1)), target=1
    ),
    "an unused one": explaining(lambda net: lambda a, b: net(a), inputs=(x(), x()), target=1),
    "a constant output": explaining(lambda net: lambda a: torch.ones(4, 3), target=1),
}

BASELINES = {
    "string": given(baselines="zero"),
    "list": given(baselines=[0.0]),
    "numpy array": given(baselines=np.zeros((4, 6))),
    "None in a tuple": given(baselines=(None,)),
    "bool": given(baselines=False),
    "complex number": given(baselines=1j),
    "another batch": given(baselines=x(3)),
    "other features": given(baselines=x(4, 5)),
    "other features, one example": given(baselines=x(1, 5)),
    "one number for all": given(baselines=torch.zeros(1, dtype=torch.float64)),
    "no batch": given(baselines=x(1)[0]),
    "0-d": given(baselines=torch.tensor(0.0)),
    "too many": given(baselines=(0.0, 0.0)),
    "too few": explaining(
        lambda net: lambda a, b: net(a + b), inputs=(x(), x()), baselines=0.0, target=1
    ),
    "one more dimension": given(baselines=x(1, 6)[None]),
    "not finite": given(baselines=float("nan")),
}

TARGETS = {
    "too large": given(target=3),
    "too small": given(target=-4),
    "missing": given(target=None),
    "float": given(target=1.0),
    "string": given(target="cat"),
    "bool": given(target=True),
    "dict": given(target={0: 1}),
    "0-d float tensor": given(target=torch.tensor(1.0)),
    "float tensor": given(target=torch.ones(4)),
    "bool tensor": given(target=torch.tensor([True, False, True, False])),
    "int32 tensor": given(target=torch.ones(4, dtype=torch.int32)),
    "tensor too short": given(target=torch.tensor([0, 1, 2])),
    "tensor too long": given(target=torch.tensor([0, 1, 2, 0, 1])),
    "tensor out of range": given(target=torch.tensor([0, 1, 2, 3])),
    "2-d tensor": given(target=torch.tensor([[0], [1], [2], [0]])),
    "empty tensor": given(target=torch.tensor([], dtype=torch.int64)),
    "empty list": given(target=[]),
    "empty tuple": given(target=()),
    "list too short": given(target=[0, 1, 2]),
    "list too long": given(target=[0, 1, 2, 0, 1]),
    "list out of range": given(target=[0, 1, 2, 3]),
    "list of float": given(target=[0.0, 1.0, 2.0, 0.0]),
    "list of string": given(target=["a", "b", "c", "d"]),
    "list of None": given(target=[None] * 4),
    "tuple too long": given(target=(0, 1)),
    "tuple of string": given(target=("a",)),
    "list of tuples too long": given(target=[(0, 1)] * 4),
    "slice": given(target=(slice(0, 1),)),
    "wide slice": given(target=(slice(0, 2),)),
    "an int for three dimensions": explaining(lambda net: lambda z: net(z)[:, None], target=0),
    "a list for three dimensions": explaining(
        lambda net: lambda z: net(z)[:, None], target=[0, 0, 0, 0]
    ),
    "one for an output without classes": explaining(lambda net: lambda z: net(z)[:, 0], target=1),
}

QUADRATURES = {
    "n_steps zero": given(n_steps=0),
    "n_steps zero, bounded": given(n_steps=0, internal_batch_size=8),
    "n_steps negative": given(n_steps=-3),
    "n_steps string": given(n_steps="50"),
    "n_steps None": given(n_steps=None),
    "n_steps float": given(n_steps=5.0),
    "n_steps fraction": given(n_steps=2.5),
    "n_steps numpy": given(n_steps=np.int64(5)),
    "n_steps one, riemann_left": given(n_steps=1, method="riemann_left"),
    "n_steps one, gausslegendre": given(n_steps=1),
    "method unknown": given(method="simpson"),
    "method None": given(method=None),
    "method number": given(method=3),
    "method list": given(method=["gausslegendre"]),
    "internal_batch_size zero": given(internal_batch_size=0),
    "internal_batch_size negative": given(internal_batch_size=-2),
    "internal_batch_size string": given(internal_batch_size="4"),
    "internal_batch_size float": given(internal_batch_size=8.0),
    "internal_batch_size list": given(internal_batch_size=[4]),
    "internal_batch_size numpy": given(internal_batch_size=np.int64(8)),
    "unknown keyword": given(steps=5),
    "inputs missing": Wrong(lambda: {"target": 1}),
}

FUNCTIONS = {
    "scalar output": explaining(lambda net: lambda z: net(z).sum()),
    "scalar output with a target": explaining(lambda net: lambda z: net(z).sum(), target=0),
    "one output for the batch": explaining(lambda net: lambda z: net(z).sum().reshape(1)),
    "returns None": explaining(lambda net: lambda z: None),
    "returns a number": explaining(lambda net: lambda z: 3.0),
    "returns a tuple": explaining(lambda net: lambda z: (net(z), z), target=1),
    "returns a list": explaining(lambda net: lambda z: [net(z)], target=1),
    "returns a dict": explaining(lambda net: lambda z: {"logits": net(z)}, target=1),
    "returns indices": explaining(lambda net: lambda z: net(z).argmax(1)),
    "returns complex": explaining(lambda net: lambda z: torch.complex(net(z), net(z)), target=1),
    "returns a detached tensor": explaining(lambda net: lambda z: net(z).detach(), target=1),
    "runs without gradients": explaining(without_gradient, target=1),
    "writes its input": explaining(in_place, target=1),
    "raises ValueError": explaining(raising(ValueError("no")), target=1),
    "raises KeyError": explaining(raising(KeyError("no")), target=1),
    "raises ZeroDivisionError": explaining(raising(ZeroDivisionError("no")), target=1),
    "raises NotImplementedError": explaining(raising(NotImplementedError("no")), target=1),
    "takes too many": explaining(lambda net: lambda a, b: net(a + b), target=1),
    "takes nothing": explaining(lambda net: lambda: net(x()), target=1),
    "takes keywords only": explaining(lambda net: lambda *, z: net(z), target=1),
    "is no function": explaining(lambda net: 3, target=1),
    "is None": explaining(lambda net: None, target=1),
    "argument missing": explaining(lambda net: lambda z, w: net(z) * w, target=1),
    "argument too many": explaining(
        lambda net: lambda z: net(z), target=1, additional_forward_args=(x(), 3)
    ),
    "argument of another batch": explaining(
        lambda net: lambda z, w: net(z) * w, target=1, additional_forward_args=x(3, 3)
    ),
    "argument of another type": explaining(
        lambda net: lambda z, w: net(z) * w, target=1, additional_forward_args="twice"
    ),
    "argument None": explaining(
        lambda net: lambda z, w: net(z) * w, target=1, additional_forward_args=(None,)
    ),
    "argument that cannot be hashed": explaining(
        lambda net: lambda z, w: net(z) * w["by"], target=1, additional_forward_args={"by": 2.0}
    ),
    "argument an object": explaining(
        lambda net: lambda z, w: net(z), target=1, additional_forward_args=object()
    ),
}

WRONG_CALLS: dict[str, Wrong] = {
    f"{group} {name}": wrong
    for group, table in (
        ("inputs", INPUTS),
        ("baselines", BASELINES),
        ("target", TARGETS),
        ("quadrature", QUADRATURES),
        ("function", FUNCTIONS),
    )
    for name, wrong in table.items()
}
