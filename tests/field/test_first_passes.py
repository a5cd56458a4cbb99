"""A network that its first pass changes is changed once, by Captum's pass or by ours."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients
from comparing import WEIGHTS, gap, inputs
from networks_that_begin import BEGINNINGS, beginning
from torch import Tensor, nn

from captum_xdnn import HomogeneityWarning, XIntegratedGradients
from captum_xdnn.proof.watching import watch


def _shape_of(net: nn.Module) -> Any:
    """What a network consists of: classes, and how much is in each of its containers."""
    return [
        (
            name,
            type(part).__name__,
            {k: len(v) for k, v in vars(part).items() if hasattr(v, "__len__")},
        )
        for name, part in net.named_modules()
    ]


def _three_calls(method: Any, net: nn.Module) -> tuple[list[Tensor], Any]:
    torch.manual_seed(3)  # what a first pass draws
    explainer = method(net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HomogeneityWarning)  # of a hook that scales gradients
        found = [explainer.attribute(inputs(), target=1).detach() for _ in range(3)]
    return found, torch.get_rng_state()


@pytest.mark.parametrize("refused", [False, True], ids=["homogeneous", "refused"])
@pytest.mark.parametrize("kind", BEGINNINGS)
def test_the_numbers_and_the_network_are_as_with_captum(kind: str, refused: bool) -> None:
    net, other = beginning(kind, refused=refused), beginning(kind, refused=refused)
    ours, our_dice = _three_calls(XIntegratedGradients, net)
    theirs, their_dice = _three_calls(IntegratedGradients, other)
    assert max(gap(o, t) for o, t in zip(ours, theirs, strict=True)) <= WEIGHTS
    assert _shape_of(net) == _shape_of(other)
    assert torch.equal(our_dice, their_dice)


def test_what_begins_is_no_toy() -> None:
    """A second beginning would be another function: what these tests are there to see."""
    for kind in ("a hook", "a parametrization", "a module in another's place"):
        net, other = beginning(kind, refused=True), beginning(kind, refused=True)
        net(inputs())
        other(inputs())
        other.begin(other, inputs())
        assert gap(net(inputs()), other(inputs())) > 0.01, kind


def test_lazy_layers_are_made_once() -> None:
    def net() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.LazyLinear(6, bias=False), nn.ReLU(), nn.LazyLinear(2)).double()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that lazy layers are new
        ours, theirs = net(), net()
    torch.testing.assert_close(
        _three_calls(XIntegratedGradients, ours)[0],
        _three_calls(IntegratedGradients, theirs)[0],
        rtol=WEIGHTS,
        atol=0,
    )
    assert [type(part) for part in ours] == [nn.Linear, nn.ReLU, nn.Linear]


def test_an_address_that_is_used_again_is_no_tensor_that_values_have_sized() -> None:
    """Else a run is another one each time, as chance has it, and no run is known."""
    weight = torch.tensor([0.0, 1.0, 2.0, 0.0])

    def function(x: Tensor) -> Tensor:
        for _ in range(20):
            weight.nonzero()
            made = [weight + i for i in range(4)]
            assert all(m.shape[0] == 4 for m in made)
        return (x * weight).sum(1)

    runs = [watch(function, (torch.ones(2, 4),), (0,)) for _ in range(2)]
    first, second = (run.tape for run in runs)
    assert first is not None
    assert second is not None
    assert "measured" not in [step.op for step in first.path]
    assert first.path == second.path
