"""The priors against their definitions, at their edges, and as losses on a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import slow_priors
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from captum_xdnn import XIntegratedGradients, priors

MASK = torch.tensor([[[1.0, 0.0, 0.5, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]])
PRIORS: dict[str, tuple[Callable[[Any], Tensor], Callable[[Tensor], float]]] = {
    "gini_sparsity": (priors.gini_sparsity, slow_priors.gini_sparsity),
    "l1": (priors.l1, lambda a: float(a.abs().mean())),
    "total_variation": (priors.total_variation, slow_priors.total_variation),
    "right_for_the_right_reasons": (
        lambda a: priors.right_for_the_right_reasons(a, MASK),
        lambda a: slow_priors.right_for_the_right_reasons(a, MASK),
    ),
    "energy_guidance": (
        lambda a: priors.energy_guidance(a, MASK),
        lambda a: slow_priors.energy_guidance(a, MASK),
    ),
}


def maps(batch: int = 4) -> Tensor:
    return torch.randn(batch, 2, 3, 4, dtype=torch.float64)


@pytest.mark.parametrize("name", PRIORS)
def test_the_definition(name: str) -> None:
    ours, slow = PRIORS[name]
    for attributions in (maps(), maps(1), maps().relu() - 0.5, maps() * 1e-30, maps() * 1e30):
        found = ours(attributions)
        assert found.shape == ()
        assert float(found) == pytest.approx(slow(attributions), rel=1e-10, abs=1e-300)


@pytest.mark.parametrize("name", PRIORS)
def test_attributions_of_zero_give_a_number_and_gradients_of_zero(name: str) -> None:
    attributions = torch.zeros(3, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    loss = PRIORS[name][0](attributions)
    (gradient,) = torch.autograd.grad(loss, attributions)
    assert float(loss.detach()) == (1.0 if name == "energy_guidance" else 0.0)
    assert not gradient.any()


@pytest.mark.parametrize("name", PRIORS)
def test_the_size_of_the_batch_does_not_matter(name: str) -> None:
    loss, attributions = PRIORS[name][0], maps()
    assert_close(loss(attributions.repeat(3, 1, 1, 1)), loss(attributions))


@pytest.mark.parametrize("name", PRIORS)
def test_gradients_are_those_of_the_numbers(name: str) -> None:
    attributions = maps().requires_grad_()
    assert torch.autograd.gradcheck(PRIORS[name][0], (attributions,))


@pytest.mark.parametrize("name", PRIORS)
def test_gradients_by_every_parameter_through_the_single_pass(name: str) -> None:
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(36, 3, bias=False),
    ).double()
    x = maps(3)
    xig = XIntegratedGradients(net, strategy="single_pass")

    def loss() -> Tensor:
        return PRIORS[name][0](xig.attribute(x, target=1, create_graph=True))

    parameters = list(net.parameters())
    gradients = torch.autograd.grad(loss(), parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        for _ in range(3):
            direction = torch.randn_like(parameter)
            expected = slow_priors.slope(loss, parameter, direction)
            assert float((gradient * direction).sum()) == pytest.approx(
                expected, rel=1e-5, abs=1e-8
            )


def test_one_feature_is_as_sparse_as_it_gets() -> None:
    assert float(priors.gini_sparsity(torch.randn(5, 1))) == 0
    assert float(priors.gini_sparsity(torch.eye(1, 10))) == pytest.approx(-0.9)


def test_a_mask_of_zeros() -> None:
    attributions = maps().requires_grad_()
    nothing = torch.zeros(3, 4)
    assert not priors.right_for_the_right_reasons(attributions, nothing).any()
    assert_close(priors.energy_guidance(attributions, nothing).detach(), torch.tensor(1.0).double())


def test_a_map_of_one_place_has_no_variation() -> None:
    attributions = torch.randn(2, 3, 1, 1, requires_grad=True)
    loss = priors.total_variation(attributions)
    assert float(loss.detach()) == 0
    assert not torch.autograd.grad(loss, attributions)[0].any()


def test_several_tensors_count_together() -> None:
    one, two = maps(), maps()[..., :1]
    flat = torch.cat([one.flatten(1), two.flatten(1)], 1)
    assert_close(priors.gini_sparsity((one, two)), priors.gini_sparsity(flat))
    assert_close(priors.l1((one, two)), priors.l1(flat))
    parts = priors.total_variation(one) + priors.total_variation(two)
    assert_close(priors.total_variation((one, two)), parts)
    mask = MASK.double()
    masks = (mask, mask[..., :1])
    flat_mask = torch.cat(
        [m.expand_as(a).flatten(1) for m, a in zip(masks, (one, two), strict=True)], 1
    )
    for prior in (priors.right_for_the_right_reasons, priors.energy_guidance):
        assert_close(prior((one, two), masks), prior(flat, flat_mask))


@pytest.mark.parametrize("name", PRIORS)
def test_half_precision_overflows_no_sum(name: str) -> None:
    loss, large = PRIORS[name][0], (300 * maps().repeat(1, 1, 20, 20)).half()
    if name in ("right_for_the_right_reasons", "energy_guidance"):
        large = large[..., :3, :4]
    assert_close(loss(large), loss(large.float()))


WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "an array": (lambda: priors.l1([1.0]), AssertionError, "tensor or a tuple of tensors"),
    "nothing": (lambda: priors.l1(()), AssertionError, "found"),
    "no entries": (lambda: priors.gini_sparsity(torch.zeros(2, 0)), ValueError, "with entries"),
    "integers": (lambda: priors.l1(torch.ones(2, 3, dtype=torch.int64)), ValueError, "int64"),
    "two batch sizes": (lambda: priors.l1((maps(2), maps(3))), ValueError, "batch size"),
    "rows": (lambda: priors.total_variation(torch.ones(2, 3)), ValueError, "neighbours"),
    "a mask too large": (
        lambda: priors.energy_guidance(maps(), torch.ones(5, 4)),
        ValueError,
        "does not broadcast",
    ),
    "a mask too few": (
        lambda: priors.right_for_the_right_reasons((maps(), maps()), MASK),
        AssertionError,
        "1 of them for 2",
    ),
    "a list of masks": (
        lambda: priors.right_for_the_right_reasons(maps(), [1]),
        AssertionError,
        "found list",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls(name: str) -> None:
    call, kind, said = WRONG[name]
    with pytest.raises(kind, match=said):
        call()
