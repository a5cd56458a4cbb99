"""Operations without a second derivative are named before training starts."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.testing import assert_close
from trained_networks import perceptron, rows

from captum_xdnn import XIntegratedGradients
from captum_xdnn.priors import expected_gradients
from captum_xdnn.routes import plan


class Attention(nn.Module):
    """Attention between the features, on a network without biases."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.Linear(4, 4, bias=False), nn.Linear(8, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.inner(x.reshape(len(x), 1, 2, 4))
        return self.last(scaled_dot_product_attention(heads, heads, heads).flatten(1))


class Doubled(torch.autograd.Function):
    """Twice its argument; its derivative may be taken once."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient


class Once(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return Doubled.apply(self.inner(x)).square()


class Squared(torch.autograd.Function):
    """The square of its argument; its derivative may be taken once."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        context.save_for_backward(x)
        return x.square()

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> Tensor:
        (x,) = context.saved_tensors
        return 2 * gradient * x


class OnceAtTheEnd(Once):
    """What reaches the function is no gradient that requires one: torch would not say a word."""

    def forward(self, x: Tensor) -> Tensor:
        return Squared.apply(self.inner(x))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "flash attention": (Attention, "flash_attention"),
    "once_differentiable": (Once, "once_differentiable"),
    "once_differentiable at the end": (OnceAtTheEnd, "once_differentiable"),
}
ATTRIBUTIONS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "any route": lambda net, x: XIntegratedGradients(net).attribute(
        x, target=1, n_steps=4, create_graph=True
    ),
    "Captum's": lambda net, x: XIntegratedGradients(net, strategy="captum").attribute(
        x, target=1, n_steps=4, create_graph=True
    ),
    "Expected Gradients": lambda net, x: expected_gradients(net, x, torch.zeros(2, 8), target=1),
}


@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_an_operation_without_a_second_derivative_is_named(name: str, attribution: str) -> None:
    build, said = NETWORKS[name]
    net, x = build(), torch.randn(2, 8)
    with pytest.raises(NotImplementedError, match=said):
        ATTRIBUTIONS[attribution](net, x)
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("strategy", ["auto", "captum"])
def test_attributions_that_depend_on_no_parameter_have_no_graph(strategy: Any) -> None:
    xig = XIntegratedGradients(lambda x: x.sum(1), strategy=strategy)
    assert not xig.attribute(torch.rand(2, 3), create_graph=True).requires_grad


def test_without_a_graph_it_is_attributed_all_the_same() -> None:
    for build, _ in NETWORKS.values():
        XIntegratedGradients(build()).attribute(torch.randn(2, 8), target=1, n_steps=4)


def test_attention_in_a_head_is_made_of_operations_that_have_a_second_derivative(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan, "WORTH_IT", 0)
    monkeypatch.setattr(plan, "CERTAIN", 0)
    net, x = Attention().double(), torch.randn(3, 8, dtype=torch.float64)
    xig = XIntegratedGradients(net)
    attributions = xig.attribute(x, target=1, n_steps=4, create_graph=True)
    assert xig.last_route == "hoisted"
    found = torch.autograd.grad(attributions.square().sum(), list(net.parameters()))
    plain = XIntegratedGradients(net).attribute(x, target=1, n_steps=4)
    assert_close(attributions.detach(), plain, rtol=1e-9, atol=1e-12)
    assert all(gradient.any() for gradient in found)


def test_the_remedy_for_attention_is_one() -> None:
    net, x = Attention().double(), torch.randn(3, 8, dtype=torch.float64)
    with pytest.raises(NotImplementedError, match="sdpa_kernel") as raised:
        XIntegratedGradients(net, strategy="captum").attribute(
            x, target=1, n_steps=4, create_graph=True
        )
    assert "SDPBackend.MATH" in str(raised.value)
    with sdpa_kernel(SDPBackend.MATH):
        attributions = XIntegratedGradients(net, strategy="captum").attribute(
            x, target=1, n_steps=4, create_graph=True
        )
        found = torch.autograd.grad(attributions.square().sum(), list(net.parameters()))
    assert all(gradient.any() for gradient in found)


def test_every_call_is_checked_until_one_was_found_to_be_differentiable() -> None:
    net, x = Attention(), torch.randn(2, 8)
    xig = XIntegratedGradients(net)
    for _ in range(2):
        with pytest.raises(NotImplementedError):
            xig.attribute(x, target=1, n_steps=4, create_graph=True)
    xig.forward_func = perceptron()
    xig.attribute(rows(), target=1, create_graph=True)
    xig.forward_func = net
    with pytest.raises(NotImplementedError):
        xig.attribute(x, target=1, n_steps=4, create_graph=True)


def test_a_trained_object_can_be_pickled() -> None:
    xig = XIntegratedGradients(perceptron())
    xig.attribute(rows(), target=1, create_graph=True)
    again = pickle.loads(pickle.dumps(xig))
    assert again.attribute(rows(), target=1, create_graph=True).requires_grad
