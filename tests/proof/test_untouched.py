"""What watching leaves as it was: models, inputs, flags, generators, other threads."""

from __future__ import annotations

import copy
import random
import threading
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn
from verdicts import stack

from captum_xdnn import XIntegratedGradients
from captum_xdnn.homogeneity import certify

X = torch.ones(2, 3)


def _in_place(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, 0] = 2 * y[:, 1]
    return y.add_(x).relu_()


class Counting(nn.Module):
    """Keeps a tensor on itself at every call, as recurrent states and caches do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2, bias=False)
        self.seen: Any = None

    def forward(self, x: Tensor) -> Tensor:
        self.seen = self.layer(x)
        return self.seen


def test_state_that_the_function_keeps_and_never_reads_is_put_back() -> None:
    model = Counting()
    model(X)
    before = model.seen
    assert certify(model, X).homogeneous
    assert model.seen is before


class Remembering(Counting):
    """What it keeps decides what it computes in the next call."""

    def forward(self, x: Tensor) -> Tensor:
        last, self.seen = self.seen, x.detach()
        return self.layer(x if last is None else x + last)


@pytest.mark.parametrize("kind", [XIntegratedGradients, IntegratedGradients])
def test_state_that_the_function_reads_is_that_of_captums_calls(kind: Any) -> None:
    """So many rows at a time that every call of Captum's finds rows of the last one."""
    model = Remembering()
    found = [kind(model).attribute(X, target=0, n_steps=1) for _ in range(3)]
    weight = model.layer.weight[0].detach()
    for each in found:
        torch.testing.assert_close(each, weight.expand(2, 3))


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_as_it_was(fails: bool) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten()
    )
    model[1].eval()
    model.train(False)
    model[3].train()
    if fails:
        model.append(nn.Linear(999, 2))
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    flags = [(m.training, len(m._forward_hooks)) for m in model.modules()]
    identities = [
        (id(t), t._version, t.requires_grad, t.grad)
        for t in model.state_dict(keep_vars=True).values()
    ]
    values = copy.deepcopy(model.state_dict())
    generator, grad, default = (
        torch.get_rng_state(),
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
    )
    python, numpy = random.getstate(), repr(np.random.get_state())
    with torch.no_grad():
        assert not certify(model, torch.ones(2, 3, 6, 6)).homogeneous
        assert not torch.is_grad_enabled()
    assert flags == [(m.training, len(m._forward_hooks)) for m in model.modules()]
    assert identities == [
        (id(t), t._version, t.requires_grad, t.grad)
        for t in model.state_dict(keep_vars=True).values()
    ]
    torch.testing.assert_close(model.state_dict(), values, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), generator)
    assert (random.getstate(), repr(np.random.get_state())) == (python, numpy)
    assert (torch.is_grad_enabled(), torch.get_default_dtype()) == (grad, default)


def test_inputs_are_as_they_were() -> None:
    leaf = torch.ones(2, 3, requires_grad=True)
    x = leaf * 2
    seen = (x._version, x.grad_fn, leaf.grad)
    assert certify(_in_place, x).homogeneous
    assert (x._version, x.grad_fn, leaf.grad) == seen


def test_an_input_that_the_function_changes_is_refused_and_stays() -> None:
    x = torch.ones(2, 3)
    certificate = certify(lambda t: torch.no_grad()(t.mul_)(2).relu(), x)
    assert not certificate.homogeneous
    reasons = ("it changes its input in place", "a leaf Variable that requires grad")
    assert any(reason in certificate.blockers[0].reason for reason in reasons)
    assert x.sum() == 6


def test_an_argument_that_the_function_changes_is_refused_and_stays() -> None:
    y = torch.ones(3)
    certificate = certify(lambda x, t: x * t.add_(1), X, additional_forward_args=y)
    assert not certificate.homogeneous
    assert certificate.blockers[0].reason == "it changes an argument in place"
    assert certificate.blockers[0].remedy == "work on a copy of the argument"
    assert y.sum() == 3


def test_a_buffer_that_the_function_writes_is_refused_and_stays() -> None:
    class Moving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            self.total += x.sum(0)
            return x * self.total

    model = Moving()
    certificate = certify(model, X)
    assert not certificate.homogeneous
    assert certificate.blockers[0].reason == "it writes to total at every call"
    assert not model.total.any()


def test_a_model_that_cannot_be_copied_is_watched_as_it_is() -> None:
    class Unique(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2, bias=False)

        def __deepcopy__(self, memo: Any) -> Any:
            message = "there is only one"
            raise TypeError(message)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x).relu()

    model = Unique()
    weight = model.layer.weight
    assert certify(model, X).homogeneous
    assert model.layer.weight is weight


def test_functions_and_their_globals_are_as_they_were() -> None:
    inner = stack()

    def function(x: Tensor) -> Tensor:
        return inner(x)

    cell, scope = function.__closure__[0], dict(function.__globals__)
    assert certify(function, X).homogeneous
    assert function.__closure__[0] is cell
    assert cell.cell_contents is inner
    assert {k: id(v) for k, v in function.__globals__.items()} == {
        k: id(v) for k, v in scope.items()
    }


def test_the_model_runs_in_other_threads_while_it_is_watched() -> None:
    model = nn.Sequential(
        *[layer for _ in range(8) for layer in (nn.Linear(16, 16, bias=False), nn.ReLU())]
    )
    x = torch.randn(4, 16)
    expected = model(x).detach()
    stop, wrong = threading.Event(), []

    def run() -> None:
        try:
            while not stop.is_set():
                result = model(x.clone().requires_grad_())
                if not torch.equal(result.detach(), expected):
                    wrong.append("another result")
                torch.autograd.grad(result.sum(), [*model.parameters()])
                model.zero_grad()
        except Exception as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        assert certify(model, x).homogeneous
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_several_threads_may_certify_at_once() -> None:
    models = [stack() for _ in range(4)]
    biased = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    verdicts: dict[int, bool] = {}

    def ask(i: int) -> None:
        function = models[i] if i < 4 else biased
        verdicts[i] = certify(function, X).homogeneous

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == {0: True, 1: True, 2: True, 3: True, 4: False}
