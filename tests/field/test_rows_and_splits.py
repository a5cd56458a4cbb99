"""A call is split only where each row of the output depends on its own row: else it runs whole."""

from __future__ import annotations

import outside
import pytest
import torch
from captum.attr import IntegratedGradients
from comparing import EXACT, WEIGHTS, gap, inputs
from functions_of_batches import FIRST, FUNCTIONS, LAST, TABLE, B, z
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients


def _whole(function, x):
    theirs = IntegratedGradients(function)
    return theirs.attribute(x, target=1, internal_batch_size=B, n_steps=50)


def _short(function):
    """Memory runs out when all examples go through the function first in a call."""

    def short(x, *arguments):
        if len(x) == B and outside.running:
            raise outside.running.pop()
        return function(x, *arguments)

    return short


def _divided(explainer, x, most, **call):
    """A call that does not fit: it goes on with parts of at most so many examples, and of half of all."""
    outside.running[:] = [torch.OutOfMemoryError()]
    found = explainer.attribute(x, target=1, internal_batch_size=most, **call)
    assert not outside.running
    return found


@pytest.mark.filterwarnings("ignore::captum_xdnn.errors.HomogeneityWarning")
@pytest.mark.filterwarnings("ignore:Internal batch size cannot be less")
@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_split_call_is_the_whole_call(kind, most):
    function, x = FUNCTIONS[kind], inputs(B)
    explainer = XIntegratedGradients(_short(function))
    for factor in (1.0, 1.0, 1.6):
        ours = _divided(explainer, factor * x, most)
        theirs = _whole(function, factor * x)
        route = explainer.last_route
        assert gap(ours, theirs) <= (EXACT if route == "captum" else WEIGHTS), route


@pytest.mark.filterwarnings("ignore::captum_xdnn.errors.HomogeneityWarning")
@pytest.mark.filterwarnings("ignore:Internal batch size cannot be less")
@pytest.mark.parametrize("most", [1, 4])
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_bound_below_the_batch_is_the_batch(kind, most):
    function, x = FUNCTIONS[kind], inputs(B)
    explainer = XIntegratedGradients(function)
    for factor in (1.0, 1.0, 1.6):
        ours = explainer.attribute(factor * x, target=1, internal_batch_size=most)
        assert gap(ours, _whole(function, factor * x)) <= WEIGHTS


@pytest.mark.parametrize("most", [1, 4])
def test_arguments_with_rows_are_split_with_the_inputs(most):
    function = lambda x, weights: LAST(z(x) * weights)  # noqa: E731
    x, weights = inputs(B), TABLE[:, None].clone()
    explainer = XIntegratedGradients(_short(function), strategy="single_pass")
    ours = _divided(explainer, x, most, additional_forward_args=(weights,))
    theirs = IntegratedGradients(function).attribute(
        x, target=1, additional_forward_args=(weights,), internal_batch_size=B
    )
    assert gap(ours, theirs) <= WEIGHTS


def test_what_keeps_rows_apart_is_split_and_fast():
    net = nn.Sequential(FIRST, nn.ReLU(), LAST)
    outside.seen.clear()

    def function(x: Tensor) -> Tensor:
        outside.seen.append(len(x))
        return net(x)

    explainer = XIntegratedGradients(_short(function), strategy="single_pass")
    _divided(explainer, inputs(B), 2)
    assert explainer.last_route == "single_pass"
    assert 2 in outside.seen
