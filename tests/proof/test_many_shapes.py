"""Functions that are asked for in shape after shape."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import Tensor
from torch.testing import assert_close

from captum_xdnn import NotHomogeneousError, XIntegratedGradients, certify


def bent() -> Callable[[Tensor], Tensor]:
    """Neither homogeneous nor worth hoisting."""
    return lambda x: x.sin().sum(1) * x.cos().prod(1)


def branching() -> Callable[[Tensor], Tensor]:
    """Python reads a value."""
    return lambda x: x.sin().sum(1) if float(x.detach().sum()) < 1e9 else x.sum(1)


def in_a_few_shapes() -> Callable[[Tensor], Tensor]:
    """Homogeneous where there are many columns."""
    return lambda x: x.sum(1) if x.shape[1] > 40 else x.sin().sum(1) * x.cos().prod(1)


def shape(columns: int) -> Tensor:
    return torch.linspace(-1, 1, 3 * columns, dtype=torch.float64).reshape(3, columns)


@pytest.mark.parametrize("build", [bent, branching, in_a_few_shapes])
def test_each_shape_has_captums_numbers(build: Callable[[], Callable[[Tensor], Tensor]]) -> None:
    function = build()
    xig, captum = XIntegratedGradients(function), IntegratedGradients(function)
    for columns in range(25, 56):
        x = shape(columns)
        assert_close(xig.attribute(x), captum.attribute(x), rtol=1e-9, atol=1e-12)
        homogeneous = build is in_a_few_shapes and columns > 40
        assert (xig.last_route == "single_pass") is homogeneous
        assert xig.certificate.homogeneous is homogeneous


def test_the_certificate_is_that_of_the_last_call() -> None:
    function = in_a_few_shapes()
    xig = XIntegratedGradients(function)
    for columns in (2, 50, 3, 60):
        xig.attribute(shape(columns))
        assert xig.certificate.homogeneous is (columns > 40)
        assert certify(function, shape(columns)).homogeneous is (columns > 40)
    assert "sin" in str(certify(function, shape(2)))


def test_strategies_hold_for_each_shape() -> None:
    only = XIntegratedGradients(in_a_few_shapes(), strategy="single_pass")
    for columns in (60, 30, 61, 31):
        if columns > 40:
            only.attribute(shape(columns))
            assert only.last_route == "single_pass"
        else:
            with pytest.raises(NotHomogeneousError, match="sin"):
                only.attribute(shape(columns))


def test_a_changed_function_is_looked_at_again() -> None:
    net = torch.nn.Sequential(torch.nn.Sigmoid(), torch.nn.Flatten(), torch.nn.ReLU()).double()
    xig = XIntegratedGradients(net)
    for columns in range(1, 8):
        xig.attribute(shape(columns), target=0)
        assert xig.last_route != "single_pass"
    net[0] = torch.nn.ReLU()
    xig.attribute(shape(20), target=0)
    assert xig.last_route == "single_pass"


def test_wrong_calls_raise_captums_error_however_many_came_before() -> None:
    layer = torch.nn.Linear(3, 2, bias=False).double()
    xig = XIntegratedGradients(layer)
    for columns in range(4, 30):
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            xig.attribute(shape(columns), target=0)
    xig.attribute(shape(3), target=0)
    assert xig.last_route == "single_pass"
