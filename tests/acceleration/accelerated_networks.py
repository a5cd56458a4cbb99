"""Networks for each route, and Captum's own methods as they are while nothing is accelerated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from captum.attr import IntegratedGradients, LayerIntegratedGradients
from captum.attr._core.neuron import neuron_integrated_gradients as neuron_module
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import accelerate_captum

CLOSE = {"rtol": 1e-7, "atol": 1e-10}
SAME = {"rtol": 0.0, "atol": 0.0}


def in_place() -> dict[str, Any]:
    return {
        "attribute": IntegratedGradients.attribute,
        "attribute of layers": LayerIntegratedGradients.attribute,
        "_make_gradient_func": LayerIntegratedGradients._make_gradient_func,
        "construct_neuron_grad_fn": neuron_module.construct_neuron_grad_fn,
    }


BEFORE = in_place()


def network() -> nn.Sequential:
    """Degree 1 without biases."""
    return nn.Sequential(
        nn.Linear(6, 16, bias=False),
        nn.ReLU(),
        nn.Linear(16, 12, bias=False),
        nn.ReLU(),
        nn.Linear(12, 3, bias=False),
    ).double()


def with_softmax() -> nn.Sequential:
    return nn.Sequential(*network(), nn.Softmax(-1))


def refused(x: Tensor) -> Tensor:
    """Cannot be traced."""
    return x.sin() if float(x.detach().sum()) > 1e9 else x.cos() * x


NETWORKS: dict[str, Callable[[], Any]] = {
    "single_pass": network,
    "hoisted": with_softmax,
    "captum": lambda: refused,
}


def rows(batch: int = 4) -> Tensor:
    return torch.randn(batch, 6, dtype=torch.float64)


def assert_captums(method: Any, inputs: Any, routes: Counter[str], /, **call: Any) -> Any:
    """The object's own numbers, which it gives inside as well, by these routes."""
    expected = method.attribute(inputs, **call)
    with accelerate_captum() as acceleration:
        found = method.attribute(inputs, **call)
    assert acceleration.routes == routes
    assert_close(found, expected, **CLOSE)
    return found
