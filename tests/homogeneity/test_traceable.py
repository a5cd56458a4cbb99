"""Kinds of functions that give a graph."""

from __future__ import annotations

import functools
import types
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_networks import stack
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from captum_xdnn.homogeneity import certify
from captum_xdnn.homogeneity.tracing import trace

X = torch.ones(2, 3)
MODEL = stack()
SCALE = torch.tensor(2.0)


class Holder:
    """A plain object whose method hides a module."""

    def __init__(self) -> None:
        self.model = stack()

    def score(self, x: Tensor) -> Tensor:
        return self.model(x).sum(1)

    def __call__(self, x: Tensor) -> Tensor:
        return self.score(x)


class InPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        y[:, 0] = 2 * y[:, 1]
        y.add_(x).relu_()
        return y.mul_(3.0)


class Skips(nn.Module):
    """A residual block that is called twice and returns one of several things."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3, bias=False)

    def forward(self, x: Tensor, *, twice: bool = True) -> Tensor:
        y = x + F.relu(self.inner(x), inplace=True)
        return y + F.relu(self.inner(y)) if twice else y


def _closure() -> Callable[[Tensor], Tensor]:
    model, scale = stack(), 2.0

    def inner(x: Tensor) -> Tensor:
        return model(x) * scale

    return lambda x: inner(x).sum(1)


def _doubled(x: Tensor, factor: Tensor, model: nn.Module | None = None) -> Tensor:
    return (model or MODEL)(x) * factor


def _hooked() -> nn.Module:
    model = stack()
    model[0].register_forward_hook(lambda module, args, output: 2 * output)
    model[1].register_forward_pre_hook(lambda module, args: (args[0].abs(),))
    return model


def _jit_traced() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(stack(), X)


def _shared() -> nn.Module:
    layer = nn.Linear(3, 3, bias=False)
    return nn.Sequential(layer, nn.ReLU(), layer)


def _parametrized() -> nn.Module:
    return torch.nn.utils.parametrizations.weight_norm(nn.Linear(3, 2, bias=False))


def _with_keyword_default(x: Tensor, *, model: nn.Module = MODEL) -> Tensor:
    return model(x)


FUNCTIONS: dict[str, Callable[[], Callable[..., Any]]] = {
    "module": stack,
    "lambda": lambda: lambda x: MODEL(x)[:, 0],
    "global": lambda: lambda x: MODEL(x) * SCALE,
    "closure": _closure,
    "bound method": lambda: Holder().score,
    "bound method of a module": lambda: stack().forward,
    "callable object": Holder,
    "partial": lambda: functools.partial(_doubled, factor=SCALE, model=stack()),
    "partial of a partial": lambda: functools.partial(
        functools.partial(_doubled, model=stack()), factor=SCALE
    ),
    "keyword default": lambda: _with_keyword_default,
    "forward hooks": _hooked,
    "in-place code": InPlace,
    "compiled": lambda: torch.compile(stack()),
    "compiled function": lambda: torch.compile(lambda x: F.relu(x)),
    "jit traced": _jit_traced,
    "data parallel": lambda: nn.DataParallel(stack()),
    "shared layers": _shared,
    "called twice": Skips,
    "weight norm": _parametrized,
    "module list": lambda: nn.ModuleList([stack()])[0],
    "checkpoint": lambda: (
        lambda x: torch.utils.checkpoint.checkpoint(MODEL, x, use_reentrant=False)
    ),
    "no_grad region": lambda: lambda x: x * torch.no_grad()(MODEL)(x)[:, :1].sign(),
    "view and expand": lambda: lambda x: x.view(-1, 3, 1).expand(-1, 3, 4).reshape(x.shape[0], -1),
    "einsum": lambda: lambda x: torch.einsum("bi,ij->bj", x, torch.eye(3)),
    "shape arithmetic": lambda: lambda x: x.reshape(x.size(0) * 3, -1) / x.shape[0],
}


# Torch's compiler, imported on first use, warned of its own use of TorchScript in some releases.
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_function_of_this_kind_is_certified(kind: str) -> None:
    function = FUNCTIONS[kind]()
    certificate = certify(function, X)
    assert certificate.homogeneous, str(certificate)
    for batch in (5, 8):
        assert certify(function, torch.ones(batch, 3)).homogeneous


def test_an_autocast_region_is_certified() -> None:
    def function(x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return MODEL(x).float()

    certificate = certify(function, X)
    assert certificate.homogeneous
    assert trace(function, (X,)).coarsest == torch.finfo(torch.bfloat16).eps
    assert trace(MODEL, (X,)).coarsest == torch.finfo(torch.float32).eps


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.LSTM(3, 4, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])


def test_an_lstm_has_a_graph_and_is_refused_for_what_it_computes() -> None:
    certificate = certify(Recurrent(), torch.ones(2, 4, 3))
    assert "cannot be traced" not in str(certificate)
    assert {b.module for b in certificate.blockers} == {"cells"}


def test_a_hook_of_the_user_is_part_of_the_graph() -> None:
    model = stack()
    model[0].register_forward_hook(lambda module, args, output: output.exp())
    certificate = certify(model, X)
    assert certificate.blockers[0].op == "aten.exp.default"


def test_an_instance_method_put_in_place_of_forward_is_traced() -> None:
    model = stack()
    model.forward = types.MethodType(lambda self, x: x.exp(), model)
    assert certify(model, X).blockers[0].op == "aten.exp.default"
