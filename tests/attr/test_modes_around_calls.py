"""Modes of torch around a call, and classes of tensors: the very numbers of a call without them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from captum_xdnn import XIntegratedGradients
from captum_xdnn._torch import gradients_from


class Passing(TorchFunctionMode):
    """Calls what it is shown."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


MODES: list[Callable[[], AbstractContextManager[Any]]] = [Passing, lambda: torch.device("cpu")]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128, torch.bfloat16])
@pytest.mark.parametrize("recorded", [True, False])
def test_seeds_are_what_they_are_without_a_mode(mode: Any, dtype: Any, recorded: bool) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(5, 4, dtype=dtype).requires_grad_(), torch.randn(4, 3, dtype=dtype)
    seeds = torch.randn(5, 3, dtype=dtype), torch.randn(3, 5, dtype=dtype).T

    def found() -> Tensor:
        squares = (x @ weight) ** 2
        with torch.set_grad_enabled(recorded):
            gradients = gradients_from(
                (squares, squares.sin()) if recorded else (squares,), (x,), seeds[: 1 + recorded]
            )
        gradient: Tensor = gradients[0]
        return gradient

    expected = found()
    with mode():
        # Complex numbers are rounded otherwise.
        rtol = 1e-12 if dtype.is_complex else 0
        torch.testing.assert_close(found(), expected, rtol=rtol, atol=0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("head", [nn.Identity(), nn.Softmax(1), nn.Tanh()])
@pytest.mark.parametrize("create_graph", [False, True])
def test_attributions_in_a_mode(mode: Any, head: nn.Module, create_graph: bool) -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(6, 256, bias=False), nn.ReLU(), nn.Linear(256, 256, bias=False), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(256, 3, bias=False), head).double()
    x = torch.rand(2, 6, dtype=torch.float64)

    def found() -> tuple[Tensor, str, Tensor]:
        xig = XIntegratedGradients(net)
        attributions = xig.attribute(x, target=1, create_graph=create_graph)
        if not create_graph:
            return attributions, xig.last_route, torch.empty(0)
        net.zero_grad()
        attributions.abs().sum().backward()
        assert net[0].weight.grad is not None
        return attributions.detach(), xig.last_route, net[0].weight.grad.clone()

    plain = found()
    with mode():
        within = found()
    assert within[1] == plain[1]
    torch.testing.assert_close(within[0], plain[0], rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(within[2], plain[2], rtol=1e-12, atol=1e-15)
