import copy
import pickle

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import nn
from torch.testing import assert_close

from captum_xdnn import XIntegratedGradients, certify
from captum_xdnn.nn import ChannelScale


@pytest.fixture
def scale() -> ChannelScale:
    made = ChannelScale(3, dtype=torch.float64)
    nn.init.normal_(made.weight)
    return made


@pytest.mark.parametrize("dimensions", [2, 3, 4, 5])
def test_each_channel_is_multiplied(scale: ChannelScale, dimensions: int) -> None:
    x = torch.randn((2, 3, 4, 5, 6)[:dimensions], dtype=torch.float64)
    expected = torch.stack([scale.weight[c] * x[:, c] for c in range(3)], 1)
    assert_close(scale(x), expected, rtol=0, atol=0)


def test_it_starts_as_the_identity(scale: ChannelScale) -> None:
    scale.reset_parameters()
    assert scale.weight.tolist() == ChannelScale(3).weight.tolist() == [1, 1, 1]


@pytest.mark.parametrize("shape", [(3,), (2, 4), (2, 1, 3)])
def test_another_number_of_channels(scale: ChannelScale, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected an input of shape \(B, 3, \.\.\.\), got"):
        scale(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_dtype_is_the_inputs(scale: ChannelScale, dtype: torch.dtype) -> None:
    x = torch.randn(2, 3).to(dtype)
    assert_close(scale(x), (scale.weight * x.double()).to(dtype), rtol=0, atol=0)


def test_gradients(scale: ChannelScale) -> None:
    x = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(scale, (x,))
    assert torch.autograd.gradgradcheck(scale, (x,))


def test_state_dict_copy_and_pickle(scale: ChannelScale) -> None:
    loaded = ChannelScale(3, dtype=torch.float64)
    loaded.load_state_dict(scale.state_dict())
    for other in (loaded, copy.deepcopy(scale), pickle.loads(pickle.dumps(scale))):
        assert_close(other.weight, scale.weight, rtol=0, atol=0)
    assert repr(scale) == "ChannelScale(3)"


def test_certified_in_both_modes(scale: ChannelScale) -> None:
    for training in (True, False):
        assert certify(scale.train(training), torch.zeros(2, 3, dtype=torch.float64)).degree == 1


def test_a_single_pass_equals_captums_integral(scale: ChannelScale) -> None:
    network = nn.Sequential(nn.Linear(3, 3, bias=False), scale.float(), nn.ReLU()).double()
    x = torch.randn(2, 3, dtype=torch.float64)
    xig = XIntegratedGradients(network, strategy="single_pass")
    assert_close(xig.attribute(x, target=1), IntegratedGradients(network).attribute(x, target=1))
