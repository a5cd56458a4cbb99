"""Classes and objects that integrate in a way of their own: Captum's code calls it, so it runs."""

from __future__ import annotations

from typing import Any

import torch
from captum._utils.gradient import compute_gradients
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from captum_xdnn import XIntegratedGradients


def network() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 2, bias=False))
    return net.double(), torch.rand(3, 4, dtype=torch.float64)


def twice(base: Any) -> Any:
    class Twice(base):  # type: ignore[misc]
        def _attribute(self, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
            return tuple(2 * a for a in super()._attribute(*args, **kwargs))

    return Twice


def test_a_class_that_overrides_captums_part() -> None:
    net, x = network()
    ours, theirs = (twice(b)(net) for b in (XIntegratedGradients, IntegratedGradients))
    assert torch.equal(ours.attribute(x, target=0), theirs.attribute(x, target=0))
    assert ours.last_route == "captum"


def test_an_object_whose_part_is_exchanged() -> None:
    net, x = network()
    xig = XIntegratedGradients(net)
    xig._attribute = lambda inputs, **_: tuple(torch.zeros_like(t) for t in inputs)  # type: ignore[method-assign]
    assert not xig.attribute(x, target=0).any()
    assert xig.last_route == "captum"


def test_a_class_with_an_initialiser_of_its_own() -> None:
    net, x = network()

    class Own(XIntegratedGradients):
        def __init__(self, function: Any) -> None:
            self.forward_func, self.gradient_func = function, compute_gradients
            self._multiply_by_inputs = True

    xig = Own(net)
    assert xig.last_outputs is None
    expected = IntegratedGradients(net).attribute(x, target=0)
    torch.testing.assert_close(xig.attribute(x, target=0), expected)
    assert xig.last_route == "single_pass"


def test_a_class_that_adds_nothing_keeps_its_routes() -> None:
    net, x = network()
    xig = type("Named", (XIntegratedGradients,), {})(net)
    xig.attribute(x, target=0)
    assert xig.last_route == "single_pass"
