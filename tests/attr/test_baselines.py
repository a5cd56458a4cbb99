"""Every form of baseline: zero by value, certified where it is not zero, Captum's elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bias_free_networks import Normalised, TwoInputs, mlp, rows
from captum.attr import IntegratedGradients
from references import path_integral
from torch import nn
from torch.testing import assert_close

from captum_xdnn import XIntegratedGradients

ZEROS: dict[str, Any] = {
    "None": None,
    "int": 0,
    "float": 0.0,
    "same shape": torch.zeros(4, 6, dtype=torch.float64),
    "one example": torch.zeros(1, 6, dtype=torch.float64),
    "tuple of float": (0.0,),
    "tuple of tensor": (torch.zeros(4, 6, dtype=torch.float64),),
    "minus zero": torch.full((1, 6), -0.0, dtype=torch.float64),
}


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return mlp()


@pytest.mark.parametrize("form", ZEROS)
def test_every_form_of_zero_baseline(form: str, network: nn.Module) -> None:
    function, x = network, rows()
    xig = XIntegratedGradients(function)
    ours = xig.attribute(x, ZEROS[form], target=1)
    assert xig.last_route == "single_pass"
    assert_close(ours, path_integral(function, (x,), (0,), 1)[0], rtol=1e-9, atol=1e-12)


def test_mixed_tuple_of_baselines() -> None:
    function, inputs = TwoInputs(), (rows(), torch.randn(4, 2, 4, dtype=torch.float64))
    xig = XIntegratedGradients(function)
    ours = xig.attribute(inputs, (0, torch.zeros_like(inputs[1])), target=1)
    assert xig.last_route == "single_pass"
    assert_close(ours, path_integral(function, inputs, (0, 0), 1), rtol=1e-9, atol=1e-12)


def linear_with_biases() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3)).double()


NONZERO: dict[str, tuple[Any, Any]] = {
    "number, linear": (linear_with_biases, 1.5),
    "tensor, linear": (linear_with_biases, torch.randn(4, 6, dtype=torch.float64)),
    "one example, linear": (linear_with_biases, torch.randn(1, 6, dtype=torch.float64)),
    "mean image": (Normalised, torch.linspace(-0.5, 0.7, 6, dtype=torch.float64)[None]),
    "mean image, full batch": (
        Normalised,
        torch.linspace(-0.5, 0.7, 6, dtype=torch.float64).repeat(4, 1),
    ),
}


@pytest.mark.parametrize("case", NONZERO)
@pytest.mark.parametrize("internal_batch_size", [None, 1, 3])
def test_certified_nonzero_baselines(case: str, internal_batch_size: int | None) -> None:
    build, baseline = NONZERO[case]
    function, x = build(), rows()
    xig = XIntegratedGradients(function)
    ours = xig.attribute(x, baseline, target=[0, 1, 2, 0], internal_batch_size=internal_batch_size)
    expected = path_integral(function, (x,), (baseline,), [0, 1, 2, 0])[0]
    assert xig.last_route == "single_pass"
    assert_close(ours, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("always_hoisted")
def test_a_baseline_that_does_not_normalise_to_zero_is_captums() -> None:
    function, x = Normalised(), rows()
    xig = XIntegratedGradients(function)
    ours = xig.attribute(x, 0.25, target=0)
    assert xig.last_route == "hoisted"
    theirs = IntegratedGradients(function).attribute(x, 0.25, target=0)
    assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("always_hoisted")
def test_the_verdict_follows_the_value_of_the_baseline_tensor() -> None:
    function, x = Normalised(), rows()
    xig = XIntegratedGradients(function)
    baseline = function.mean.clone()[None]
    for shift, route in ((0.0, "single_pass"), (0.5, "hoisted"), (-0.5, "single_pass")):
        baseline += shift
        ours = xig.attribute(x, baseline, target=1)
        expected = IntegratedGradients(function).attribute(x, baseline, target=1)
        assert xig.last_route == route
        assert_close(ours, expected, rtol=1e-6, atol=1e-9)


def test_convergence_delta_at_a_nonzero_baseline() -> None:
    function, x = Normalised(), rows()
    xig = XIntegratedGradients(function)
    _, delta = xig.attribute(x, function.mean[None], target=1, return_convergence_delta=True)
    assert xig.last_route == "single_pass"
    assert delta.shape == (4,)
    assert delta.abs().max() < 1e-12
