"""The numbers of the single pass, against an explicit float64 sum and against Captum."""

from __future__ import annotations

from fractions import Fraction
from math import inf

import pytest
import torch
from bias_free_networks import (
    Residual,
    Root,
    Squared,
    TwoInputs,
    Weighted,
    affine_output,
    biased_mlp,
    conv_net,
    images,
    mlp,
    rows,
)
from captum.attr import IntegratedGradients
from captum.attr._utils.approximation_methods import SUPPORTED_METHODS, approximation_parameters
from references import path_integral
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import XIntegratedGradients
from captum_xdnn.routes import plan


def two() -> tuple[Tensor, Tensor]:
    return rows(), torch.randn(4, 2, 4, dtype=torch.float64)


FUNCTIONS = {
    "mlp": (mlp, lambda: (rows(),), 1, 1),
    "conv_net": (conv_net, lambda: (images(),), 1, 1),
    "residual": (Residual, lambda: (images(),), 1, 1),
    "product": (Squared, lambda: (rows(),), 2, 1),
    "square": (lambda: lambda x: x.pow(2), lambda: (rows(),), 2, 1),
    "root": (Root, lambda: (rows(),), Fraction(1, 2), 2),
    "two_inputs": (TwoInputs, two, 1, 1),
    "affine_output": (affine_output, lambda: (rows(),), 1, 1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("batch", [1, 4])
def test_single_pass_is_the_integral(name: str, batch: int) -> None:
    build, data, degree, stretch = FUNCTIONS[name]
    function = build()
    inputs = tuple(x[:batch] for x in data())
    xig = XIntegratedGradients(function)
    attributions = xig.attribute(inputs, target=1)
    expected = path_integral(function, inputs, (0.0,) * len(inputs), 1, stretch=stretch)
    assert xig.last_route == "single_pass"
    assert xig.certificate.degree == degree
    assert isinstance(attributions, tuple)
    assert_close(attributions, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["mlp", "product", "root", "two_inputs", "affine_output"])
def test_multiply_by_inputs_false_gives_the_mean_gradient(name: str) -> None:
    build, data, _, stretch = FUNCTIONS[name]
    function, inputs = build(), data()
    xig = XIntegratedGradients(function, multiply_by_inputs=False)
    attributions = xig.attribute(inputs, target=2)
    expected = path_integral(
        function, inputs, (0.0,) * len(inputs), 2, stretch=stretch, multiply_by_inputs=False
    )
    assert xig.last_route == "single_pass"
    assert xig.multiplies_by_inputs is False
    assert_close(attributions, expected, rtol=1e-9, atol=1e-12)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return mlp()


@pytest.mark.parametrize("method", SUPPORTED_METHODS)
@pytest.mark.parametrize("n_steps", [10, 50])
def test_every_method_of_captum_up_to_its_constant_factor(
    method: str, n_steps: int, network: nn.Module
) -> None:
    function, x = network, rows()
    xig = XIntegratedGradients(function)
    ours = xig.attribute(x, target=0, method=method, n_steps=n_steps)
    theirs = IntegratedGradients(function).attribute(x, target=0, method=method, n_steps=n_steps)
    sizes, alphas = (part(n_steps) for part in approximation_parameters(method))
    # Captum's weights do not add up to 1 for two methods, and a = 0 has no gradient.
    factor = sum(size for size, alpha in zip(sizes, alphas, strict=True) if alpha > 0)
    assert xig.last_route == "single_pass"
    assert_close(ours, path_integral(function, (x,), (0,), 0)[0], rtol=1e-9, atol=1e-12)
    assert_close(theirs, factor * ours, rtol=1e-6, atol=1e-9)
    exact = method in ("gausslegendre", "riemann_right", "riemann_middle")
    assert (abs(factor - 1) < 1e-6) == exact


def test_additional_forward_args() -> None:
    function, x = Weighted(), rows()
    weight = torch.rand(4, 3, dtype=torch.float64)
    xig = XIntegratedGradients(function)
    for scale in (2.0, 3.0):
        for size in (None, 1, 3):
            ours = xig.attribute(
                x, target=1, additional_forward_args=(weight, scale), internal_batch_size=size
            )
            expected = path_integral(function, (x,), (0,), 1, (weight, scale))[0]
            assert xig.last_route == "single_pass"
            assert_close(ours, expected, rtol=1e-9, atol=1e-12)


def test_a_tensor_argument_that_is_no_batch_is_not_repeated() -> None:
    # Captum repeats it n_steps times: a graph's edge index, or weights of shape (6, 3), fail there.
    weights, x = torch.randn(6, 3, dtype=torch.float64), rows()
    xig = XIntegratedGradients(lambda x, w: torch.relu(x @ w))
    ours = xig.attribute(x, target=1, additional_forward_args=weights)
    assert xig.last_route == "single_pass"
    expected = path_integral(xig.forward_func, (x,), (0,), 1, (weights,))[0]
    assert_close(ours, expected, rtol=1e-9, atol=1e-12)
    with pytest.raises(RuntimeError):
        IntegratedGradients(xig.forward_func).attribute(
            x, target=1, additional_forward_args=weights
        )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_convergence_delta(name: str) -> None:
    build, data, _, _ = FUNCTIONS[name]
    function, inputs = build(), data()
    xig = XIntegratedGradients(function)
    attributions, delta = xig.attribute(inputs, target=1, return_convergence_delta=True)
    change = function(*inputs)[:, 1] - function(*(torch.zeros_like(x) for x in inputs))[:, 1]
    gap = sum(a.flatten(1).sum(1) for a in attributions) - change
    assert delta.shape == (4,)
    assert_close(delta, gap.detach(), rtol=0, atol=1e-12)
    assert delta.abs().max() < 1e-12


def test_a_refused_network_is_captums_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "WORTH_IT", inf)
    function, x = biased_mlp(), rows()
    xig = XIntegratedGradients(function)
    for method in SUPPORTED_METHODS:
        arguments = {"target": 1, "n_steps": 7, "method": method, "internal_batch_size": 8}
        ours = xig.attribute(x, 0.5, return_convergence_delta=True, **arguments)
        theirs = IntegratedGradients(function).attribute(
            x, 0.5, return_convergence_delta=True, **arguments
        )
        assert xig.last_route == "captum"
        assert_close(ours, theirs, rtol=0, atol=0)


def test_strategy_captum_asks_for_no_certificate() -> None:
    function, x = mlp(), rows()
    xig = XIntegratedGradients(function, strategy="captum")
    ours = xig.attribute(x, target=1, n_steps=3)
    assert (xig.last_route, xig.certificate) == ("captum", None)
    expected = IntegratedGradients(function).attribute(x, target=1, n_steps=3)
    assert_close(ours, expected, rtol=0, atol=0)


def test_tensor_in_tensor_out_and_tuple_in_tuple_out() -> None:
    xig, x = XIntegratedGradients(mlp()), rows()
    alone, wrapped = xig.attribute(x, target=0), xig.attribute((x,), target=0)
    assert isinstance(alone, Tensor)
    assert isinstance(wrapped, tuple)
    assert len(wrapped) == 1
    assert_close(alone, wrapped[0], rtol=0, atol=0)


def test_nothing_was_asked_yet() -> None:
    xig = XIntegratedGradients(mlp())
    assert (xig.last_route, xig.certificate) == (None, None)
    assert xig.has_convergence_delta()


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("route", ["single_pass", "hoisted"])
def test_an_input_that_requires_grad_gives_what_captum_gives(route: str) -> None:
    function = mlp() if route == "single_pass" else biased_mlp()
    x = rows().requires_grad_()
    xig = XIntegratedGradients(function)
    ours = xig.attribute(x, target=1)
    theirs = IntegratedGradients(function).attribute(x, target=1)
    # Before torch 2.8 hooks on saved tensors cannot be asked for, and nothing is hoisted.
    unasked = route == "hoisted" and torch.torch_version.TorchVersion(torch.__version__) < (2, 8)
    assert xig.last_route == ("captum" if unasked else route)
    assert ours.requires_grad
    assert theirs.requires_grad
    (through_ours,) = torch.autograd.grad(ours.sum(), x)
    (through_theirs,) = torch.autograd.grad(theirs.sum(), x)
    assert_close(through_ours, through_theirs, rtol=1e-6, atol=1e-9)
    assert x.grad is None
    with torch.no_grad():
        assert not xig.attribute(x, target=1).requires_grad
