"""A certificate that no longer holds: caught, and Captum's answer returned."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from bias_free_networks import mlp, rows
from captum.attr import IntegratedGradients
from changes import BACKWARD, SEEN, STILL_EXACT, UNSEEN, Model, applied, configured
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import HomogeneityWarning, XIntegratedGradients


def assert_captums_answer(xig: XIntegratedGradients, x: Tensor, target: int | None = 1) -> None:
    """Equal numbers, in the same state of the random generator."""
    torch.manual_seed(9)
    theirs = IntegratedGradients(xig.forward_func).attribute(x, target=target, n_steps=200)
    torch.manual_seed(9)
    ours = xig.attribute(x, target=target, n_steps=200)
    tolerance = {"single_pass": 1e-6, "hoisted": 1e-9, "captum": 0.0}[xig.last_route]
    assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def certified(model: Any, x: Tensor, target: int | None = 1) -> XIntegratedGradients:
    xig = XIntegratedGradients(model)
    xig.attribute(x, target=target)
    xig.attribute(x, target=target)
    assert xig.last_route == "single_pass"
    return xig


@pytest.mark.parametrize("name", SEEN)
def test_a_change_shows_in_the_next_run(name: str) -> None:
    model, x = Model(), rows()
    xig = certified(model, x)
    before = xig.certificate
    with applied(SEEN[name], model):
        state = copy.deepcopy(model.state_dict())
        for _ in range(2):
            torch.manual_seed(9)
            ours = xig.attribute(x, target=1)
            exact = xig.last_route == "single_pass"
            assert exact == (name in STILL_EXACT)
            assert xig.certificate != before
            model.load_state_dict(state)
            torch.manual_seed(9)
            theirs = IntegratedGradients(model).attribute(x, target=1)
            model.load_state_dict(state)
            tolerance = {"single_pass": 1e-6, "hoisted": 1e-9, "captum": 0.0}[xig.last_route]
            assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", UNSEEN)
def test_a_change_that_cannot_be_seen_is_caught_by_the_guard(name: str) -> None:
    model, x = Model(), rows()
    xig = certified(model, x)
    before = xig.certificate
    with applied(UNSEEN[name], model):
        theirs = IntegratedGradients(model).attribute(x, target=1)
        with pytest.warns(HomogeneityWarning, match="the certificate did not hold") as raised:
            ours = xig.attribute(x, target=1)
        assert len(raised) == 1
        assert raised[0].filename == __file__
        assert xig.last_route == "captum"
        assert before.homogeneous
        assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["functional_patched", "class_patched", "torch_patched"])
def test_during_and_after_a_patch_the_answers_are_captums(name: str) -> None:
    model, x = Model(), rows()
    xig = certified(model, x)
    with applied(SEEN[name], model):
        assert_captums_answer(xig, x)
        assert xig.last_route != "single_pass"
    assert_captums_answer(xig, x)
    assert xig.last_route == "single_pass"


@pytest.mark.parametrize("name", ["data_changed", "memory_changed"])
def test_a_write_that_torch_does_not_count_is_seen(name: str) -> None:
    model, x = Model(), rows()
    xig = certified(model, x)
    with applied(SEEN[name], model):
        assert_captums_answer(xig, x)
        assert [b.module for b in xig.certificate.blockers] == ["first"]


@pytest.mark.parametrize("name", ["full_backward_hook", "guided_backprop"])
def test_who_goes_on_contradicting_gets_no_more_certificates(name: str) -> None:
    model, x = Model(), rows()
    xig = certified(model, x)
    UNSEEN[name](model)
    for _ in range(3):
        with pytest.warns(HomogeneityWarning):
            xig.attribute(x, target=1)
    assert_captums_answer(xig, x)
    assert xig.last_route == "captum"
    assert "earlier certificates were contradicted" in str(xig.certificate)


@pytest.mark.parametrize("name", BACKWARD)
def test_a_gradient_that_the_graph_does_not_show(name: str) -> None:
    x = rows()
    xig = XIntegratedGradients(BACKWARD[name])
    theirs = IntegratedGradients(BACKWARD[name]).attribute(x)
    with pytest.warns(HomogeneityWarning, match="custom backward pass or hook"):
        ours = xig.attribute(x)
    assert xig.last_route == "captum"
    assert_close(ours, theirs, rtol=0, atol=0)


def test_an_object_of_the_users_own() -> None:
    function, config = configured()
    x = rows()
    xig = certified(function, x, None)
    xig.verify = False
    config.shift = 0.4
    assert_captums_answer(xig, x, None)
    assert xig.last_route != "single_pass"


@pytest.mark.usefixtures("always_hoisted")
def test_forward_func_replaced_on_the_object() -> None:
    x = rows()
    xig = certified(mlp(), x)
    xig.forward_func = nn.Sequential(nn.Linear(6, 3), nn.Sigmoid()).double()
    assert_captums_answer(xig, x)
    assert xig.last_route == "hoisted"


def test_a_new_model_at_the_address_of_an_old_one() -> None:
    x = rows()
    for step in range(6):
        model = Model()
        if step % 2:
            model.act = nn.Softplus()
        assert_captums_answer(XIntegratedGradients(model), x)
        del model
        gc.collect()


UNDEFINED: dict[str, tuple[Callable[[], Any], Callable[[Tensor], Tensor]]] = {
    "NaN in an example": (mlp, lambda x: x.index_fill(0, torch.tensor([1]), torch.nan)),
    "NaN everywhere": (mlp, lambda x: x * torch.nan),
    "infinity": (mlp, lambda x: x.index_fill(0, torch.tensor([1]), torch.inf)),
    "overflow": (mlp, lambda x: x * 1e308),
}


@pytest.mark.parametrize("name", UNDEFINED)
def test_what_is_not_finite_neither_warns_nor_drops(name: str) -> None:
    build, spoil = UNDEFINED[name]
    model, x = build(), rows()
    xig = certified(model, x)
    certificate = xig.certificate
    spoiled = spoil(x)
    ours = xig.attribute(spoiled, target=1)
    assert xig.last_route == "captum"
    theirs = IntegratedGradients(model).attribute(spoiled, target=1)
    assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)
    xig.attribute(x, target=1)
    assert xig.last_route == "single_pass"
    assert xig.certificate is certificate


def test_an_infinite_gradient_neither_warns_nor_drops() -> None:
    x = rows()
    xig = certified(lambda z: z.abs().sqrt().sum(1), x, None)
    ours = xig.attribute(torch.zeros_like(x))
    assert xig.last_route == "captum"
    assert ours.isnan().all()
    xig.attribute(x)
    assert xig.last_route == "single_pass"


def test_a_baseline_that_is_not_finite_neither_warns_nor_drops() -> None:
    model, x = nn.Linear(6, 3).double(), rows()
    xig = certified(model, x)
    ours = xig.attribute(x, float("nan"), target=1)
    assert ours.isnan().all()
    xig.attribute(x, target=1)
    assert xig.last_route == "single_pass"


def test_without_the_guard_a_silent_write_is_the_callers_risk() -> None:
    model, x = Model(), rows()
    xig = XIntegratedGradients(model, verify=False)
    xig.attribute(x, target=1)
    model.first.bias.data.add_(0.4)
    ours = xig.attribute(x, target=1)
    assert xig.last_route == "single_pass"
    assert (ours - IntegratedGradients(model).attribute(x, target=1)).abs().max() > 1e-3


def test_certificates_are_shared_between_objects_of_one_function() -> None:
    model, x = Model(), rows()
    first, second = certified(model, x), certified(model, x)
    assert first.certificate is second.certificate
    model.shift = 0.4
    for xig in (first, second):
        assert_captums_answer(xig, x)
        assert xig.last_route != "single_pass"


@pytest.mark.usefixtures("always_hoisted")
def test_a_bias_trained_away_and_reset_is_certified_again() -> None:
    model, x = Model(), rows()
    xig = certified(model, x)
    for value, route in ((0.4, "hoisted"), (0.0, "single_pass"), (0.1, "hoisted")):
        with torch.no_grad():
            model.first.bias.fill_(value)
        assert_captums_answer(xig, x)
        assert xig.last_route == route
