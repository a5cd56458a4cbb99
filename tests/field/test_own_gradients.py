"""Code of the user's that acts on the gradient: Captum's numbers, or the exact integral of that gradient."""

from __future__ import annotations

import pytest
import torch
from comparing import compare, inputs
from global_hooks import GLOBAL
from gradient_makers import NETWORKS

from captum_xdnn import XIntegratedGradients

pytestmark = [
    pytest.mark.filterwarnings("ignore::captum_xdnn.errors.HomogeneityWarning"),
    pytest.mark.filterwarnings("ignore:Using a non-full backward hook:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Using non-full backward hooks:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning"),
]
FAST = (
    "conserving_by_squares", "straight_through_weights", "checkpoint", "saved_on_cpu", "detached_gate",
    "detached_shares", "hook_on_a_parameter", "hook_that_watches", "reversals_that_cancel",
)  # fmt: skip


@pytest.mark.parametrize("zero_first", [False, True])
@pytest.mark.parametrize("kind", NETWORKS)
def test_numbers_are_those_of_the_gradient_as_it_is(kind, zero_first):
    function, x = NETWORKS[kind](), inputs() + 0.1
    explainer = XIntegratedGradients(function)
    if zero_first:
        explainer.attribute(torch.zeros_like(x), target=1)
    for factor in (1.0, 1.0, 2.0, 0.3):
        compare(explainer, function, factor * x, n_steps=200)


@pytest.mark.parametrize("zero_first", [False, True])
@pytest.mark.parametrize("kind", GLOBAL)
def test_hooks_of_every_module(kind, zero_first):
    network, register = GLOBAL[kind]
    function, x = network(), inputs() + 0.1
    explainer = XIntegratedGradients(function)
    whole = torch.nn.modules.module._global_is_full_backward_hook
    compare(explainer, function, x)
    handle = register()
    try:
        if zero_first:
            explainer.attribute(torch.zeros_like(x), target=1)
        for factor in (1.0, 1.0, 2.0):
            compare(explainer, function, factor * x)
    finally:
        handle.remove()
        torch.nn.modules.module._global_is_full_backward_hook = whole
    compare(explainer, function, x)


@pytest.mark.parametrize("kind", FAST)
def test_what_keeps_the_law_keeps_the_single_pass(kind):
    explainer = XIntegratedGradients(NETWORKS[kind](), strategy="single_pass")
    for factor in (1.0, 2.0):
        explainer.attribute(factor * (inputs() + 0.1), target=1)


@pytest.mark.parametrize("kind", [k for k in NETWORKS if k not in FAST])
def test_the_same_after_the_function_was_certified_without_it(kind):
    """One explainer of a wrapper: first a plain network, then the one with a gradient of its own."""
    plain, own = NETWORKS["checkpoint"](), NETWORKS[kind]()
    chosen = [plain]
    function = lambda x: chosen[0](x)  # noqa: E731
    explainer, x = XIntegratedGradients(function), inputs() + 0.1
    compare(explainer, function, x)
    chosen[0] = own
    compare(explainer, function, x, n_steps=200)
