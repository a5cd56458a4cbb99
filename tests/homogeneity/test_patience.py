"""Functions that are refused in shape after shape are not traced for ever."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from calls import Counter
from captum.attr import IntegratedGradients
from torch import Tensor
from torch.testing import assert_close

import captum_xdnn
from captum_xdnn import NotHomogeneousError, XIntegratedGradients
from captum_xdnn.homogeneity.patience import SHAPES
from captum_xdnn.homogeneity.remembered import knowledge_of


def bent() -> Callable[[Tensor], Tensor]:
    """Neither homogeneous nor worth hoisting."""
    return lambda x: x.sin().sum(1) * x.cos().prod(1)


def in_a_few_shapes() -> Callable[[Tensor], Tensor]:
    """Homogeneous where there are many columns."""
    return lambda x: x.sum(1) if x.shape[1] > 40 else x.sin().sum(1) * x.cos().prod(1)


def branching() -> Callable[[Tensor], Tensor]:
    """Cannot be traced."""
    return lambda x: x.sin().sum(1) if float(x.detach().sum()) < 1e9 else x.sum(1)


def shape(columns: int) -> Tensor:
    return torch.linspace(-1, 1, 3 * columns, dtype=torch.float64).reshape(3, columns)


@pytest.mark.parametrize("build", [bent, branching])
def test_only_a_few_of_many_shapes_are_traced(
    build: Callable[[], Callable[[Tensor], Tensor]], traces: Counter
) -> None:
    function = build()
    xig, captum = XIntegratedGradients(function), IntegratedGradients(function)
    for columns in range(1, 41):
        x = shape(columns)
        assert_close(xig.attribute(x), captum.attribute(x), rtol=0, atol=0)
        assert xig.last_route == "captum"
        assert not xig.certificate.homogeneous
    assert traces.count == SHAPES + 3  # the 8th, the 16th and the 32nd


def test_what_is_said_of_a_shape_that_was_left_out() -> None:
    xig = XIntegratedGradients(bent())
    for columns in range(2, 2 + SHAPES):
        xig.attribute(shape(columns))
        assert "sin" in str(xig.certificate)
    xig.attribute(shape(20))
    report = str(xig.certificate)
    assert "calls of 4 other shapes were refused, the last because of" in report
    assert "this shape has not been looked at" in report
    assert "certify()" in report


def test_a_shape_that_comes_again_is_answered_from_memory(traces: Counter) -> None:
    xig = XIntegratedGradients(bent())
    for _ in range(10):
        for columns in range(2, 2 + SHAPES):
            xig.attribute(shape(columns))
    assert traces.count == SHAPES


def test_a_function_that_is_refused_in_some_shapes_is_found_out() -> None:
    function = in_a_few_shapes()
    xig, captum = XIntegratedGradients(function), IntegratedGradients(function)
    routes = []
    for columns in range(25, 80):
        x = shape(columns)
        assert_close(xig.attribute(x), captum.attribute(x), rtol=1e-9, atol=1e-12)
        routes.append(xig.last_route)
    assert set(routes[:16]) == {"captum"}
    found = routes.index("single_pass")
    assert found == 31
    assert set(routes[found:]) == {"single_pass"}


def test_whoever_asks_for_a_verdict_gets_it() -> None:
    function = in_a_few_shapes()
    xig = XIntegratedGradients(function)
    for columns in range(2, 3 + SHAPES):
        xig.attribute(shape(columns))
    assert captum_xdnn.certify(function, shape(50)).homogeneous
    for columns in range(7, 7 + SHAPES):
        xig.attribute(shape(columns))
    only = XIntegratedGradients(function, strategy="single_pass")
    only.attribute(shape(60))
    assert only.last_route == "single_pass"
    with pytest.raises(NotHomogeneousError, match="sin"):
        only.attribute(shape(30))


def test_a_changed_function_is_looked_at_again() -> None:
    net = torch.nn.Sequential(torch.nn.Sigmoid(), torch.nn.Flatten(), torch.nn.ReLU()).double()
    xig = XIntegratedGradients(net)
    for columns in range(1, 3 + SHAPES):
        xig.attribute(shape(columns), target=0)
    net[0] = torch.nn.ReLU()
    xig.attribute(shape(20), target=0)
    assert xig.last_route == "single_pass"


def test_wrong_calls_raise_captums_error_however_many_came_before() -> None:
    layer = torch.nn.Linear(3, 2, bias=False).double()
    xig = XIntegratedGradients(layer)
    for columns in range(4, 30):
        with pytest.raises(RuntimeError):
            xig.attribute(shape(columns), target=0)
    certificate = knowledge_of(layer).analyse(layer, (shape(3),), (0,), patient=True).certificate
    assert certificate.homogeneous
    xig.attribute(shape(3), target=0)
    assert xig.last_route == "single_pass"
