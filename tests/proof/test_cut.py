"""A gradient that is cut off on its way: refused by the proof, not by a check in every call."""

import warnings

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import Tensor

from captum_xdnn import XIntegratedGradients, certify

WEIGHT = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def detached_norm(x: Tensor) -> Tensor:
    return (x * x.detach().norm(dim=1, keepdim=True)).sum(1)


def data_norm(x: Tensor) -> Tensor:
    return x.data.norm(dim=1) * torch.relu(x @ WEIGHT)[:, 0]


def norm_without_gradients(x: Tensor) -> Tensor:
    with torch.no_grad():
        scale = x.abs().sum(1, keepdim=True)
    return (x * scale).sum(1)


def straight_through(x: Tensor) -> Tensor:
    return (x + (torch.relu(x) - x).detach()).sum(1)


def half_of_a_sum(x: Tensor) -> Tensor:
    return torch.relu(x @ WEIGHT)[:, 0] + (x.detach() @ WEIGHT)[:, 1]


def skip_without_a_gradient(x: Tensor) -> Tensor:
    hidden = torch.relu(x @ WEIGHT)
    return torch.cat([hidden, hidden.detach().abs()], 1).sum(1)


CUT = [
    detached_norm,
    data_norm,
    norm_without_gradients,
    straight_through,
    half_of_a_sum,
    skip_without_a_gradient,
]


def mask_without_a_gradient(x: Tensor) -> Tensor:
    return (x * (x.detach() > 0)).sum(1)


def share_without_a_gradient(x: Tensor) -> Tensor:
    return (x * (torch.relu(x) / x.norm(dim=1, keepdim=True)).detach()).sum(1)


def choice_without_gradients(x: Tensor) -> Tensor:
    with torch.no_grad():
        largest = (x @ WEIGHT).argmax(1, keepdim=True)
    return (x @ WEIGHT).gather(1, largest)[:, 0]


def detached_weight(x: Tensor) -> Tensor:
    return torch.relu(x @ WEIGHT.detach()).sum(1)


class Rectified(torch.autograd.Function):
    """Its operations run without gradients, and it gives the gradient back."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, grad):
        return grad * (ctx.saved_tensors[0] > 0)


def of_its_own(x: Tensor) -> Tensor:
    return (Rectified.apply(x) + x).sum(1)


def clamped_norm(x: Tensor) -> Tensor:
    """Torch clamps the norms in place, where no gradient is recorded."""
    return torch.nn.functional.cosine_similarity(x, WEIGHT[:, 0], eps=0.0) * x.norm(dim=1)


WHOLE = [
    clamped_norm,
    mask_without_a_gradient,
    share_without_a_gradient,
    choice_without_gradients,
    detached_weight,
    of_its_own,
]


def batch() -> Tensor:
    return torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("function", CUT, ids=lambda f: f.__name__)
def test_refused_without_a_warning(function):
    x, explainer = batch(), XIntegratedGradients(function)
    for _ in range(3):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ours = explainer.attribute(x, n_steps=20)
        theirs = IntegratedGradients(function).attribute(x, n_steps=20)
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
        assert explainer.last_route != "single_pass"
    found = certify(function, x)
    assert not found.homogeneous
    assert "cut off" in found.blockers[0].reason
    assert not explainer.certificate.homogeneous


@pytest.mark.parametrize("function", WHOLE, ids=lambda f: f.__name__)
def test_a_gradient_that_is_whole_keeps_its_single_pass(function):
    x, explainer = batch(), XIntegratedGradients(function)
    ours = explainer.attribute(x)
    theirs = IntegratedGradients(function).attribute(x, n_steps=100)
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-8)
    assert explainer.last_route == "single_pass"
    assert certify(function, x).homogeneous
