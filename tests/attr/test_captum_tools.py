"""What Captum builds on an attribution method: noise tunnel, metrics, pictures, layers, neurons."""

from __future__ import annotations

import inspect
from typing import Any

import captum.attr._core.layer.layer_integrated_gradients as layer_module
import captum.attr._core.neuron.neuron_integrated_gradients as neuron_module
import numpy as np
import pytest
import torch
from bias_free_networks import biased_mlp, conv_net, images, mlp, rows
from captum.attr import IntegratedGradients, NoiseTunnel
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import NotHomogeneousError, XIntegratedGradients

NETWORKS = {"single_pass": mlp, "hoisted": biased_mlp}


def both(function: nn.Module) -> tuple[XIntegratedGradients, IntegratedGradients]:
    return XIntegratedGradients(function), IntegratedGradients(function)


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("route", NETWORKS)
@pytest.mark.parametrize("nt_type", ["smoothgrad", "smoothgrad_sq", "vargrad"])
def test_noise_tunnel(route: str, nt_type: str) -> None:
    function, x = NETWORKS[route](), rows()
    results = []
    for method in both(function):
        torch.manual_seed(3)
        results.append(
            NoiseTunnel(method).attribute(
                x, nt_type=nt_type, nt_samples=5, stdevs=0.3, nt_samples_batch_size=2, target=1
            )
        )
        if isinstance(method, XIntegratedGradients):
            assert method.last_route == route
    assert_close(results[0], results[1], rtol=1e-6, atol=1e-9)


@pytest.mark.usefixtures("always_hoisted")
@pytest.mark.parametrize("route", NETWORKS)
def test_noise_tunnel_with_drawn_baselines_and_delta(route: str) -> None:
    linear = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3)).double()
    function, x = linear if route == "single_pass" else mlp(), rows()
    pool = torch.randn(8, 6, dtype=torch.float64)
    results = []
    for method in both(function):
        torch.manual_seed(3)
        np.random.seed(3)  # Captum draws the baselines from numpy's global state
        results.append(
            NoiseTunnel(method).attribute(
                x,
                nt_samples=3,
                draw_baseline_from_distrib=True,
                baselines=pool,
                target=1,
                return_convergence_delta=True,
            )
        )
        if isinstance(method, XIntegratedGradients):
            assert method.last_route == route
    assert_close(results[0], results[1], rtol=1e-6, atol=1e-7)


def test_infidelity() -> None:
    function, x = mlp(), rows()

    def perturb(inputs: Tensor) -> tuple[Tensor, Tensor]:
        noise = 0.1 * torch.randn_like(inputs)
        return noise, inputs - noise

    results = []
    for method in both(function):
        attributions = method.attribute(x, target=1)
        torch.manual_seed(3)
        results.append(infidelity(function, perturb, x, attributions, target=1, normalize=True))
    assert results[0].shape == (4,)
    assert_close(results[0], results[1], rtol=1e-5, atol=1e-9)


def test_sensitivity_max() -> None:
    function, x = mlp(), rows()
    results = []
    for method in both(function):
        torch.manual_seed(3)
        results.append(sensitivity_max(method.attribute, x, target=1, n_perturb_samples=4))
    assert results[0].shape == (4,)
    assert_close(results[0], results[1], rtol=1e-5, atol=1e-9)


def test_visualization() -> None:
    pytest.importorskip("matplotlib")
    from captum.attr import visualization

    attributions = XIntegratedGradients(conv_net()).attribute(images(1), target=1)
    figure, axis = visualization.visualize_image_attr(
        attributions[0].permute(1, 2, 0).numpy(),
        sign="all",
        use_pyplot=False,
    )
    assert figure.axes[0] is axis
    assert axis.images[0].get_array().shape == (8, 8)


@pytest.mark.parametrize("route", NETWORKS)
def test_layer_integrated_gradients_with_the_class_swapped(
    route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    function, x = NETWORKS[route](), rows()
    arguments: dict[str, Any] = {"target": 1, "return_convergence_delta": True}
    expected = layer_module.LayerIntegratedGradients(function, function[0]).attribute(
        x, **arguments
    )
    monkeypatch.setattr(layer_module, "IntegratedGradients", XIntegratedGradients)
    layer = layer_module.LayerIntegratedGradients(function, function[0])
    assert type(layer.ig) is XIntegratedGradients
    assert_close(layer.attribute(x, **arguments), expected, rtol=0, atol=0)
    assert layer.ig.last_route == "captum"


@pytest.mark.parametrize("route", NETWORKS)
def test_neuron_integrated_gradients_with_the_class_swapped(
    route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    function, x = NETWORKS[route](), rows()
    made: list[XIntegratedGradients] = []

    def build(*args: Any) -> XIntegratedGradients:
        made.append(XIntegratedGradients(*args))
        return made[-1]

    neuron = neuron_module.NeuronIntegratedGradients(function, function[2])
    expected = neuron.attribute(x, 3)
    monkeypatch.setattr(neuron_module, "IntegratedGradients", build)
    assert_close(neuron.attribute(x, 3), expected, rtol=0, atol=0)
    assert [xig.last_route for xig in made] == ["captum"]


def test_a_replaced_gradient_function_is_used() -> None:
    function, x = mlp(), rows()

    def doubled(*args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        return tuple(2 * g for g in IntegratedGradients(function).gradient_func(*args, **kwargs))

    ours, theirs = both(function)
    plain = theirs.attribute(x, target=1)
    ours.gradient_func = theirs.gradient_func = doubled
    assert_close(ours.attribute(x, target=1), theirs.attribute(x, target=1), rtol=0, atol=0)
    assert_close(ours.attribute(x, target=1), 2 * plain, rtol=1e-12, atol=0)
    assert ours.last_route == "captum"
    with pytest.raises(NotImplementedError, match="create_graph=True needs Captum's own gradient"):
        ours.attribute(x, target=1, create_graph=True)
    ours.strategy = "single_pass"
    with pytest.raises(NotHomogeneousError, match="a gradient function of its own"):
        ours.attribute(x, target=1)


def test_the_signature_starts_with_captums_and_ends_with_keywords() -> None:
    theirs = list(inspect.signature(IntegratedGradients.attribute).parameters.values())
    ours = list(inspect.signature(XIntegratedGradients.attribute).parameters.values())
    assert [(p.name, p.default, p.kind) for p in ours[: len(theirs)]] == [
        (p.name, p.default, p.kind) for p in theirs
    ]
    assert [(p.name, p.kind) for p in ours[len(theirs) :]] == [
        (name, inspect.Parameter.KEYWORD_ONLY)
        for name in ("create_graph", "tolerance", "max_steps")
    ]


def test_attribute_is_wrapped_as_captum_wraps_its_own() -> None:
    function, x = mlp(), rows()
    xig = XIntegratedGradients(function)
    ours = xig.attribute.__wrapped__(xig, x, target=1)
    assert xig.last_route == "single_pass"
    assert_close(ours, xig.attribute(x, target=1), rtol=0, atol=0)


def test_it_is_captums_class() -> None:
    xig = XIntegratedGradients(mlp())
    assert isinstance(xig, IntegratedGradients)
    assert xig.get_name() == "X Integrated Gradients"
    with pytest.raises(NotImplementedError):
        xig.attribute_future()
