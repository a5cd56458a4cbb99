"""A method that raises makes no other one pay: each finds network, inputs and random numbers as the first did."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from captum import attr
from torch import Tensor, nn

from captum_xdnn.compare import compare

X = torch.rand(3, 6)
AFTER = {
    "XIntegratedGradients": "XIntegratedGradients",
    "IG(5)": "IG(5)",
    "GradientShap": "GradientShap",
}


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout())
    return nn.Sequential(*layers, nn.Linear(8, 2, bias=False)).eval()


class Spoils:
    """Changes what it can reach, and raises from its nth call on."""

    def __init__(self, model: nn.Module, error: BaseException, calls: int) -> None:
        self.model, self.error, self.left = model, error, calls

    def __call__(self, inputs: Tensor, target: Any) -> Tensor:
        if self.left:
            self.left -= 1
            return inputs
        model: Any = self.model
        model.train()(inputs)[:, 0].sum().backward()
        model[2].register_forward_hook(lambda *_: torch.zeros(len(inputs), 8))
        model[2].register_full_backward_hook(lambda *_: None)
        model[0].weight.requires_grad_(False)
        model.more, model[3] = inputs, nn.Identity()
        inputs.zero_()
        torch.set_grad_enabled(False)
        random.random(), np.random.rand(7), torch.rand(7)
        raise self.error


def state(model: nn.Module) -> Any:
    hooks = [(len(m._forward_hooks), len(m._backward_hooks), m.training) for m in model.modules()]
    values = [(n, t.tolist()) for n, t in model.state_dict().items()]
    weights = [(p.requires_grad, p.grad is None) for p in model.parameters()]
    return hooks, values, weights, sorted(vars(model)), torch.is_grad_enabled(), X.tolist()


@pytest.mark.parametrize("calls", [0, 1, 4])
def test_a_method_that_spoils_what_it_can_reach(calls: int) -> None:
    model = network()
    before = state(model)
    alone = compare(model, X, 0, methods=AFTER, rounds=2, perturbations=2)
    spoils = Spoils(model, RuntimeError("spoilt"), calls)
    found = compare(model, X, 0, methods={"spoils": spoils, **AFTER}, rounds=2, perturbations=2)
    assert "spoilt" in found["spoils"].failure
    for name in AFTER:
        mine, row, expected = found.attributions[name][0], found[name], alone[name]
        torch.testing.assert_close(mine, alone.attributions[name][0], rtol=0, atol=0)
        assert not row.failure
        assert (row.route, row.passes, row.memory) == (
            expected.route,
            expected.passes,
            expected.memory,
        )
        assert (row.infidelity, row.max_sensitivity) == (
            expected.infidelity,
            expected.max_sensitivity,
        )
    assert state(model) == before


@pytest.mark.parametrize("calls", [0, 1, 4])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_who_stops_the_program_is_obeyed(error: BaseException, calls: int) -> None:
    model = network()
    before = state(model)
    drawn = random.getstate(), np.random.get_state()[2], torch.get_rng_state().tolist()
    methods = {**AFTER, "stops": Spoils(model, error, calls)}
    with pytest.raises(type(error)):
        compare(model, X, 0, methods=methods, rounds=2, perturbations=2)
    assert state(model) == before
    assert (random.getstate(), np.random.get_state()[2], torch.get_rng_state().tolist()) == drawn


class CannotBeMade(attr.Saliency):
    def __init__(self, forward_func: Any) -> None:
        raise RuntimeError("no such network")


def test_a_method_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attr, "CannotBeMade", CannotBeMade, raising=False)
    found = compare(network(), X, 0, methods=("CannotBeMade", "Saliency"), perturbations=0)
    assert found["CannotBeMade"].failure == "RuntimeError: no such network"
    assert not found["Saliency"].failure


def test_captums_own_that_leave_hooks_where_they_raise() -> None:
    """GuidedBackprop takes its hooks away only where its gradient worked."""

    class Raises(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.relu, self.calls = nn.Linear(6, 2, bias=False), nn.ReLU(), 0

        def forward(self, x: Tensor) -> Tensor:
            y = self.relu(self.net(x))
            if y.grad_fn is not None and self.relu._backward_hooks:
                raise RuntimeError("not with hooks")
            return y

    model = Raises()
    hooked = {m: (len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()}
    found = compare(model, X, 0, methods=("GuidedBackprop", "IG(5)"), perturbations=0)
    assert not found["IG(5)"].failure
    left = {m: (len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()}
    assert left == hooked
