"""``HomogeneityWarning``: exactly when the result is not certified, at the caller's line."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from captum_xdnn import HomogeneityWarning
from captum_xdnn.convert import to_xdnn

from .networks import mlp, rows


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(nn.functional.gelu(self.first(x)))


class Shifted(Functional):
    """A parameter of its own is added before something that bends."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x) + self.shift))


class ShiftedAtTheEnd(Functional):
    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x))) + self.shift


NOT_CERTIFIED = {
    "an activation in forward": (Functional, r"self\.second\(nn\.functional\.gelu\(self\.first"),
    "a parameter in forward": (Shifted, r"torch\.relu\(self\.first\(x\) \+ self\.shift\)"),
    "a parameter at the end": (ShiftedAtTheEnd, "something adds a constant"),
}


@pytest.mark.parametrize("name", NOT_CERTIFIED)
def test_what_remains_is_named(name: str) -> None:
    build, message = NOT_CERTIFIED[name]
    with pytest.warns(HomogeneityWarning, match=message) as caught:
        _, report = to_xdnn(build(), inputs=rows())
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert (
        Path(__file__)
        .read_text()
        .splitlines()[caught[0].lineno - 1]
        .endswith("_, report = to_xdnn(build(), inputs=rows())")
    )
    assert not report.homogeneous
    assert str(caught[0].message) == report.verdict
    assert str(report).endswith(report.verdict)


def test_a_blocker_in_forward_is_in_the_certificate_too() -> None:
    with pytest.warns(HomogeneityWarning):
        _, report = to_xdnn(Functional(), inputs=rows())
    assert report.certificate is not None
    (blocker,) = report.certificate.blockers
    assert blocker.op.startswith("aten.gelu")
    assert __file__ in blocker.location


def test_a_constant_at_the_end_leaves_a_single_pass_but_no_homogeneity() -> None:
    with pytest.warns(HomogeneityWarning):
        made, report = to_xdnn(ShiftedAtTheEnd(), inputs=rows())
    assert report.certificate is not None
    assert report.certificate.homogeneous
    assert report.certificate.affine
    assert not report.homogeneous
    x = rows()
    assert (made(2 * x) - 2 * made(x)).abs().min() > 0.5


def test_without_inputs() -> None:
    with pytest.warns(HomogeneityWarning, match="has not been certified: give inputs") as caught:
        to_xdnn(mlp())
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_none_if_certified() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, report = to_xdnn(mlp(), inputs=rows())
    assert report.homogeneous
