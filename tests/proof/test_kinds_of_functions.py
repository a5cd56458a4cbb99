"""Kinds of functions that can be watched: they are certified, and have Captum's numbers."""

from __future__ import annotations

import functools
import types
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import prune
from verdicts import stack

from captum_xdnn import XIntegratedGradients
from captum_xdnn.homogeneity import certify
from captum_xdnn.proof.watching import watch

X = torch.ones(2, 3)
MODEL = stack()
SCALE = torch.tensor(2.0)
REENTRANT = "reentrant checkpoint"


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
        y.mul_(3.0).add_(x).relu_()
        return y


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


def _scripted() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(stack())
        for _ in range(3):  # it is optimised as it runs
            scripted(X)
        return scripted


def _shared() -> nn.Module:
    layer = nn.Linear(3, 3, bias=False)
    return nn.Sequential(layer, nn.ReLU(), layer)


def _pruned() -> nn.Module:
    return prune.l1_unstructured(nn.Linear(3, 3, bias=False), "weight", amount=0.5)


def _through_a_cache(x: Tensor) -> Tensor:
    return MODEL(x)


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
    "jit scripted": _scripted,
    "data parallel": lambda: nn.DataParallel(stack()),
    "shared layers": _shared,
    "called twice": Skips,
    "weight norm": _parametrized,
    "module list": lambda: nn.ModuleList([stack()])[0],
    "checkpoint": lambda: (
        lambda x: torch.utils.checkpoint.checkpoint(MODEL, x, use_reentrant=False)
    ),
    REENTRANT: lambda: lambda x: torch.utils.checkpoint.checkpoint(MODEL, x, use_reentrant=True),
    "functional call": lambda: (
        lambda x: torch.func.functional_call(MODEL, dict(MODEL.named_parameters()), x)
    ),
    "vmap": lambda: lambda x: torch.vmap(MODEL)(x),
    "gradient inside": lambda: (
        lambda x: torch.autograd.grad((x * x).sum(), x, create_graph=True)[0].relu()
    ),
    "pruned": _pruned,
    "lru_cache": lambda: functools.lru_cache(_through_a_cache),
    "a number of the layer": lambda: lambda x: MODEL(x) * SCALE.item(),
    "a list of weights": lambda: lambda x: x * SCALE.reshape(1).tolist()[0],
    "numpy": lambda: lambda x: x * torch.from_numpy(SCALE.numpy()),
    "grown from a shape": lambda: lambda x: x @ torch.ones(x.shape[1], 2 * x.shape[1]),
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


# As above.
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", [k for k in FUNCTIONS if k not in ("gradient inside", REENTRANT)])
def test_a_function_of_this_kind_has_captums_numbers(kind: str) -> None:
    function = FUNCTIONS[kind]()
    x = torch.randn(4, 3)
    xig = XIntegratedGradients(function)
    target = 0 if function(x.clone().requires_grad_()).dim() == 2 else None
    expected = IntegratedGradients(function).attribute(x, target=target, n_steps=200)
    found = xig.attribute(x, target=target, n_steps=200)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert xig.last_route == ("captum" if kind == "shape arithmetic" else "single_pass")


def test_a_reentrant_checkpoint_raises_what_it_raises_in_captum() -> None:
    function, x = FUNCTIONS[REENTRANT](), torch.randn(4, 3)
    for method in (IntegratedGradients(function), XIntegratedGradients(function)):
        with pytest.raises(RuntimeError, match="use_reentrant=True"):
            method.attribute(x, target=0)


def test_a_gradient_inside_of_the_function() -> None:
    """Captum's own last pass would have no gradient to take."""
    xig = XIntegratedGradients(FUNCTIONS["gradient inside"]())
    x = torch.randn(4, 3)
    torch.testing.assert_close(xig.attribute(x, target=0)[:, 0], (2 * x[:, 0]).relu())
    assert xig.last_route == "single_pass"


def test_an_autocast_region_is_certified() -> None:
    def function(x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return MODEL(x).float()

    certificate = certify(function, X)
    assert certificate.homogeneous
    for asked, dtype in ((function, torch.bfloat16), (MODEL, torch.float32)):
        watched = watch(asked, (X.clone().requires_grad_(),), (0,))
        assert watched.verdict is not None
        assert watched.verdict.graph.coarsest == torch.finfo(dtype).eps


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.LSTM(3, 4, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])


def test_an_lstm_is_refused_for_what_it_computes() -> None:
    certificate = certify(Recurrent(), torch.ones(2, 4, 3))
    assert len(certificate.blockers) == 1
    assert "gates that saturate" in certificate.blockers[0].reason
    assert {b.module for b in certificate.blockers} == {"cells"}


def test_a_hook_of_the_user_is_part_of_the_run() -> None:
    model = stack()
    model[0].register_forward_hook(lambda module, args, output: output.exp())
    certificate = certify(model, X)
    assert certificate.blockers[0].op == "aten.exp.default"


def test_an_instance_method_put_in_place_of_forward_is_what_runs() -> None:
    model = stack()
    model.forward = types.MethodType(lambda self, x: x.exp(), model)
    assert certify(model, X).blockers[0].op == "aten.exp.default"
