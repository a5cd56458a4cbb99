"""What a prior on attributions adds to a training step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from captum_xdnn import XIntegratedGradients
from captum_xdnn.models import x_cnn_small
from captum_xdnn.priors import expected_gradients, gini_sparsity, right_for_the_right_reasons

from .cases import perceptron
from .report import Report
from .timing import interleaved

MOST = 2.6


@dataclass(frozen=True)
class Training:
    """A network, its batch, what is lost on it, and a prior on its attributions."""

    model: nn.Module
    inputs: Tensor
    loss: Callable[[Tensor], Tensor]
    target: Tensor | None
    prior: Callable[[Tensor], Tensor]

    def step(self, attribute: Callable[[], Tensor] | None) -> Callable[[], None]:
        """One step of training, with a prior on what ``attribute`` gives."""
        optimizer = torch.optim.Adam(self.model.parameters())

        def step() -> None:
            optimizer.zero_grad()
            loss = self.loss(self.model(self.inputs))
            if attribute is not None:
                loss = loss + self.prior(attribute())
            loss.backward()
            optimizer.step()

        return step


def by_hand(training: Training) -> Tensor:
    """The same attributions in a few lines of torch: autograd does all of the second pass."""
    x = training.inputs.clone().requires_grad_()
    outputs = training.model(x)
    if training.target is not None:
        outputs = outputs.gather(1, training.target[:, None])
    (gradient,) = torch.autograd.grad(outputs.sum(), x, create_graph=True)
    return training.inputs * gradient


def paper(device: torch.device) -> Training:
    labels = torch.rand(100, 1, device=device).round()
    return Training(
        perceptron(118, 512, 128, 32, 1, bias=False).to(device),
        torch.randn(100, 118, device=device),
        lambda logits: binary_cross_entropy_with_logits(logits, labels),
        None,
        gini_sparsity,
    )


def images(device: torch.device) -> Training:
    labels, mask = torch.randint(10, (128,), device=device), torch.zeros(28, 28, device=device)
    mask[:3] = 1
    return Training(
        x_cnn_small().to(device),
        torch.rand(128, 1, 28, 28, device=device),
        lambda logits: cross_entropy(logits, labels),
        labels,
        lambda attributions: right_for_the_right_reasons(attributions, mask),
    )


CASES = {
    "MLP 118-512-128-32-1, batch 100": (paper, 41, 5),
    "x_cnn_small, batch 128": (images, 9, 1),
}


@pytest.mark.parametrize("name", CASES)
def test_a_prior_on_one_pass_costs_less_than_two_more_steps(
    name: str, report: Report, device: torch.device
) -> None:
    torch.manual_seed(0)
    build, rounds, calls = CASES[name]
    training = build(device)
    model, x, target = training.model, training.inputs, training.target
    xig = XIntegratedGradients(model, strategy="single_pass")

    def expected() -> Tensor:
        return expected_gradients(model, x, x, target=target)

    timings = interleaved(
        {
            "plain": training.step(None),
            "ours": training.step(lambda: xig.attribute(x, target=target, create_graph=True)),
            "hand": training.step(lambda: by_hand(training)),
            "expected": training.step(expected),
        },
        rounds=rounds,
        calls=calls,
        device=device,
    )
    section = "A training step with a prior, over one without"
    ratio = timings.ratio("ours", "plain")
    report.add(section, name, f"{ratio:.2f}x", f"<= {MOST}x", held=ratio <= MOST)
    for other, label in (
        ("hand", "the same by hand, `torch.autograd.grad(..., create_graph=True)`"),
        ("expected", "Expected Gradients with 1 reference"),
    ):
        figure = f"{timings.ratio(other, 'plain'):.2f}x"
        report.add(section, f"{name}, {label}", figure, "", held=True)
    assert ratio <= MOST
