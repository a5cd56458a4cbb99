"""What a function keeps of its calls is what it keeps in life, and of a function nothing is kept."""

from __future__ import annotations

import functools
import gc
import weakref
from typing import Any

import outside
import pytest
import torch
from torch import Tensor
from verdicts import stack

from captum_xdnn import XIntegratedGradients
from captum_xdnn.homogeneity import certify

X = torch.ones(2, 3)
SEEN: list[Tensor] = []
TABLE: dict[str, Tensor] = {}


class Holder:
    last: Any = None


def _through_a_global(x: Tensor) -> Tensor:
    if "scale" not in TABLE:
        TABLE["scale"] = torch.full((x.shape[1],), 2.0)
    return x * TABLE["scale"]


def _through_a_class(x: Tensor) -> Tensor:
    if Holder.last is None:
        Holder.last = torch.full((x.shape[1],), 2.0)
    return x * Holder.last


def _through_a_list(x: Tensor) -> Tensor:
    SEEN.append(x.detach())
    return 2 * x


@functools.lru_cache(maxsize=8)
def _cached(columns: int) -> Tensor:
    return torch.full((columns,), 2.0)


def _through_an_attribute(x: Tensor) -> Tensor:
    held = getattr(_through_an_attribute, "scale", None)
    if held is None:
        held = _through_an_attribute.scale = torch.full((x.shape[1],), 2.0)  # type: ignore[attr-defined]
    return x * held


CACHES = {
    "a global": _through_a_global,
    "a class": _through_a_class,
    "a list": _through_a_list,
    "lru_cache": lambda x: x * _cached(x.shape[1]),
    "a function": _through_an_attribute,
}


@pytest.mark.parametrize("kind", CACHES)
def test_what_the_function_keeps_elsewhere_are_real_tensors(kind: str) -> None:
    function = CACHES[kind]
    SEEN.clear()
    x = torch.randn(2, 3)
    for _ in range(2):
        assert certify(function, x).homogeneous
        assert torch.equal(XIntegratedGradients(function).attribute(x, target=0)[:, 0], 2 * x[:, 0])
    held = [*SEEN, *TABLE.values()] + ([Holder.last] if Holder.last is not None else [])
    assert all(type(t) is Tensor and t.isfinite().all() for t in held)
    assert torch.equal(function(x), 2 * x)


def test_hooks_of_the_user_see_real_tensors() -> None:
    model = stack()
    outside.seen.clear()
    model[0].register_forward_hook(
        lambda module, given, result: outside.seen.append(result.detach())
    )
    assert certify(model, X).homogeneous
    assert len(outside.seen) == 1
    torch.testing.assert_close(outside.seen[0], model[0](X).detach())


def test_the_function_runs_once_in_a_call() -> None:
    outside.seen.clear()

    def function(x: Tensor) -> Tensor:
        outside.seen.append(x.shape)
        return x.relu()

    assert certify(function, X).homogeneous
    assert [X.shape] == outside.seen
    xig = XIntegratedGradients(function)
    xig.attribute(X, target=0)  # where it is new to the explainer, once more to make sure
    outside.seen.clear()
    xig.attribute(X, target=0)
    assert [X.shape] == outside.seen


def test_parameters_can_be_exchanged_afterwards() -> None:
    model, other = stack(), stack()
    assert certify(model, X).homogeneous
    expected = other(X).detach()
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.utils.swap_tensors(mine, theirs)
    assert torch.equal(model(X), expected)


@pytest.mark.parametrize("kind", ["module", "function", "method", "refused"])
def test_nothing_is_kept_of_what_was_watched(kind: str) -> None:
    def once() -> list[weakref.ref[Any]]:
        model = stack()
        functions = {
            "module": model,
            "function": lambda x: model(x),
            "method": model.forward,
            "refused": lambda x: model(x) if x.sum() > 0 else model(-x),
        }
        x = torch.randn(2, 3)
        certify(functions[kind], x)
        XIntegratedGradients(functions[kind]).attribute(x, target=0)
        return [weakref.ref(held) for held in (model, model[0], model[0].weight, x)]

    gone = once()
    gc.collect()
    assert [reference() for reference in gone] == [None] * 4
