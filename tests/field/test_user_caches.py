"""What a user's function keeps for itself stays as it would be without us: real tensors, the numbers Captum's."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from cache_makers import HOLDERS, ramp
from captum.attr import IntegratedGradients
from comparing import gap, inputs, linear, tolerance_of
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients, certify


def _tensors(held: Any) -> list[Any]:
    return list(held.values()) if isinstance(held, dict) else list(held)


@pytest.mark.parametrize("homogeneous", [True, False])
@pytest.mark.parametrize("kind", HOLDERS)
def test_holders_keep_real_tensors_and_the_numbers_are_captums(kind, homogeneous):
    answers = []
    for ours in (False, True):
        factor, held = HOLDERS[kind]()
        first, last = linear(), linear(2, seed=1)

        def function(x, factor=factor, first=first, last=last):
            z = first(x) * factor(4, first(x))
            return last(z.relu() if homogeneous else (z + 0.3).sigmoid())

        x = inputs()
        if ours:
            certify(function, x)
            explainer = XIntegratedGradients(function)
            answers.append([explainer.attribute((1 + i) * x, target=1) for i in range(3)])
            assert type(function(x)) is Tensor
            found = _tensors(held())
            assert found
            assert all(type(t) in (Tensor, nn.Parameter) for t in found)
            assert all(copy.copy(t).detach().add(1).isfinite().all() for t in found)
            assert (explainer.last_route == "single_pass") == homogeneous
        else:
            plain = IntegratedGradients(function)
            answers.append([plain.attribute((1 + i) * x, target=1) for i in range(3)])
    for theirs, mine in zip(*answers, strict=True):
        assert gap(mine, theirs) <= max(
            tolerance_of(explainer.last_route), 1e-7 * (not homogeneous)
        )


@pytest.mark.parametrize("kind", ["forward", "pre", "global"])
def test_a_hooks_list_gets_tensors_and_one_pass_more_at_most(kind):
    bank: list[Tensor] = []
    net = nn.Sequential(linear(), nn.ReLU(), linear(2, seed=1))
    if kind == "forward":
        net[1].register_forward_hook(lambda m, given, out: bank.append(out.detach()))
        handle = None
    elif kind == "pre":
        net[1].register_forward_pre_hook(lambda m, given: bank.append(given[0].detach()))
        handle = None
    else:
        keep = lambda m, given, out: bank.append(out) if isinstance(m, nn.ReLU) else None  # noqa: E731
        handle = nn.modules.module.register_module_forward_hook(keep)
    try:
        explainer = XIntegratedGradients(net)
        for calls in (1, 2, 3):
            explainer.attribute(inputs(), target=1)
            assert len(bank) <= calls + 1
    finally:
        if handle is not None:
            handle.remove()
    assert all(type(t) is Tensor for t in bank)
    assert explainer.last_route == "single_pass"


def test_a_buffer_that_is_filled_at_the_first_call():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = linear(), linear(2, seed=1)
            self.register_buffer("ramp", None)

        def forward(self, x):
            if self.ramp is None:
                self.ramp = ramp(x.shape[1])
            return self.last((self.first(x) * self.ramp).relu())

    net, x = Net(), inputs()
    theirs = IntegratedGradients(copy.deepcopy(net)).attribute(x, target=1)
    explainer = XIntegratedGradients(net)
    for _ in range(3):
        assert gap(explainer.attribute(x, target=1), theirs) <= 1e-7
    assert explainer.last_route == "single_pass"
    assert type(net.ramp) is Tensor
