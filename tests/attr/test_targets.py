"""Every form of target that Captum takes, with outputs of one to four dimensions."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from bias_free_networks import mlp, rows
from captum.attr import IntegratedGradients
from references import path_integral
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import XIntegratedGradients
from captum_xdnn.routes.single_pass import column


class Shaped(nn.Module):
    """Degree 1 with outputs of any shape."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape
        self.net = mlp(int(torch.tensor(shape).prod()) if shape else 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).reshape(x.shape[0], *self.shape)


@functools.cache
def shaped(*shape: int) -> nn.Module:
    return Shaped(*shape)


TARGETS: dict[str, tuple[tuple[int, ...], Any]] = {
    "1d None": ((), None),
    "2d None": ((1,), None),
    "3d None": ((1, 1), None),
    "2d int": ((3,), 2),
    "2d negative int": ((3,), -1),
    "2d tuple": ((3,), (1,)),
    "2d 0-d tensor": ((3,), torch.tensor(2)),
    "2d 1-element tensor": ((3,), torch.tensor([1])),
    "2d 1-element int32 tensor": ((3,), torch.tensor([1], dtype=torch.int32)),
    "2d 1-d tensor": ((3,), torch.tensor([0, 1, 2, 1])),
    "2d list of int": ((3,), [2, 1, 0, 1]),
    "2d list of tuple": ((3,), [(2,), (1,), (0,), (1,)]),
    "3d int": ((3, 1), 2),
    "3d tuple": ((2, 3), (1, 2)),
    "3d list of tuple": ((2, 3), [(0, 0), (1, 2), (0, 1), (1, 1)]),
    "4d tuple": ((2, 3, 2), (1, 2, 0)),
    "4d list of tuple": ((2, 3, 2), [(0, 0, 1), (1, 2, 0), (0, 1, 1), (1, 1, 0)]),
}


@pytest.mark.parametrize("form", TARGETS)
@pytest.mark.parametrize("internal_batch_size", [None, 2])
def test_every_form_of_target(form: str, internal_batch_size: int | None) -> None:
    shape, target = TARGETS[form]
    function, x = shaped(*shape), rows()
    xig = XIntegratedGradients(function)
    ours = xig.attribute(x, target=target, internal_batch_size=internal_batch_size)
    theirs = IntegratedGradients(function).attribute(x, target=target, n_steps=3)
    assert xig.last_route == "single_pass"
    assert_close(ours, path_integral(function, (x,), (0,), target)[0], rtol=1e-9, atol=1e-12)
    assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("index", [0, 2, -1, -3])
@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 2)])
def test_a_column_is_chosen_without_reading_its_index(index: int, shape: tuple[int, ...]) -> None:
    output = torch.randn(shape).half()
    for chosen in (column(output, torch.tensor(index)), column(output, torch.tensor([index]))):
        assert_close(chosen, output[:, index], rtol=0, atol=0)


@pytest.mark.parametrize("index", [3, -4])
def test_a_column_that_does_not_exist_is_nan_and_so_is_its_gradient(index: int) -> None:
    # The guard leaves such a call to Captum, whose code raises an IndexError.
    output = torch.randn(4, 3, requires_grad=True)
    chosen = column(output, torch.tensor(index))
    (gradient,) = torch.autograd.grad(chosen.sum(), output)
    assert chosen.isnan().all()
    assert gradient.isnan().any(1).all()
