"""Lazy modules: initialised by the inputs, or named."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn.convert import to_xdnn
from captum_xdnn.nn import UncenteredBatchNorm2d


def _lazy() -> nn.Sequential:
    return nn.Sequential(
        nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.SiLU(), nn.Flatten(), nn.LazyLinear(5)
    )


def _images() -> Tensor:
    return torch.randn(2, 3, 6, 6)


@pytest.mark.parametrize("choice", ["uncentered", "fold", "strip"])
@pytest.mark.parametrize("inplace", [True, False])
def test_the_inputs_initialise_them(choice: str, inplace: bool) -> None:
    network = _lazy()
    made, report = to_xdnn(network, inputs=_images(), batch_norm=choice, inplace=inplace)
    assert (made is network) is inplace
    assert type(made[0]) is nn.Conv2d
    assert made[4].in_features == 64
    assert [c.module_type for c in report.changes] == ["Conv2d", "BatchNorm2d", "SiLU", "Linear"]
    assert report.homogeneous
    assert made(_images()).shape == (2, 5)
    assert made.training
    assert network[0].has_uninitialized_params() if not inplace else True


def test_without_inputs_all_are_named() -> None:
    message = r"no parameters yet: 0, 1, 4; give inputs, or run the model once"
    with pytest.raises(ValueError, match=message):
        to_xdnn(_lazy())
    with pytest.raises(ValueError, match="the model; give inputs"):
        to_xdnn(nn.LazyLinear(3))


def test_once_run_they_need_no_inputs() -> None:
    network = _lazy()
    network(_images())
    with pytest.warns(UserWarning, match="has not been certified"):
        made, _ = to_xdnn(network)
    assert type(made[1]) is UncenteredBatchNorm2d


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.auxiliary = nn.LazyLinear(3), nn.LazyLinear(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


@pytest.mark.parametrize("inplace", [True, False])
def test_those_that_the_inputs_do_not_reach_are_named(inplace: bool) -> None:
    network = Unused()
    message = "no parameters yet: auxiliary; the model does not use them for these inputs"
    with pytest.raises(ValueError, match=message):
        to_xdnn(network, inputs=torch.randn(2, 3), inplace=inplace)
    assert network.used.has_uninitialized_params()


def test_inputs_that_do_not_fit_leave_them_alone() -> None:
    network = _lazy()
    with pytest.raises(RuntimeError, match="Calculated padded input size"):
        to_xdnn(network, inputs=torch.randn(2, 3, 1, 1), inplace=True)
    assert network[0].has_uninitialized_params()


def test_the_result_is_that_of_the_initialised_network() -> None:
    network, x = _lazy(), _images()
    network.eval()(x)
    made, _ = to_xdnn(network, inputs=x, batch_norm="strip")
    again, _ = to_xdnn(network, inputs=x, batch_norm="strip", inplace=True)
    assert_close(made(x), again(x), rtol=0, atol=0)
