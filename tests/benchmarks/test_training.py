"""What a prior on attributions adds to a training step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from captum_xdnn import XIntegratedGradients
from captum_xdnn.models import x_cnn_small
from captum_xdnn.priors import expected_gradients, gini_sparsity, right_for_the_right_reasons

from .cases import perceptron
from .report import Report
from .timing import Timings, interleaved

MOST = 2.6
SECTION = "A training step with a prior, over one without"
TWO_LINES = "`attribute` beside the user's own forward pass"
SHARED = "loss on `last_outputs`"
ALONE = "loss on `last_outputs`, `backward(inputs=parameters)`"
BY_HAND = "by hand, `torch.autograd.grad(..., create_graph=True)`"
EXPECTED = "Expected Gradients with 1 reference"
ON_THE_SAME = "by hand, loss on the same outputs"
TRACED = "the same, traced to one graph"
COMPILED = "that graph through `torch.compile`"


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

    def shared(self, xig: XIntegratedGradients, *, parameters_alone: bool) -> Callable[[], None]:
        """One step whose loss is on the outputs that the attributions were made from."""
        parameters = list(self.model.parameters())
        optimizer = torch.optim.Adam(parameters)

        def step() -> None:
            optimizer.zero_grad()
            attributions = xig.attribute(self.inputs, target=self.target, create_graph=True)
            assert xig.last_outputs is not None
            loss = self.loss(xig.last_outputs) + self.prior(attributions)
            loss.backward(inputs=parameters if parameters_alone else None)
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


def as_function(training: Training) -> Callable[[list[Tensor], Tensor], tuple[Tensor, Tensor]]:
    """Outputs and attributions as a function of the parameters, which can be traced."""
    names = [name for name, _ in training.model.named_parameters()]

    def function(parameters: list[Tensor], inputs: Tensor) -> tuple[Tensor, Tensor]:
        x = inputs.detach().requires_grad_()
        outputs = functional_call(training.model, dict(zip(names, parameters, strict=True)), x)
        chosen = outputs
        if training.target is not None:
            chosen = outputs.gather(1, training.target[:, None])
        (gradient,) = torch.autograd.grad(chosen.sum(), x, create_graph=True)
        return outputs, inputs * gradient

    return function


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


@pytest.fixture(scope="module")
def timed(device: torch.device) -> Callable[[str], Timings]:
    """The steps of each case, timed in turn, once for all tests."""

    @functools.cache
    def of(name: str) -> Timings:
        torch.manual_seed(0)
        build, rounds, calls = CASES[name]
        training = build(device)
        model, x, target = training.model, training.inputs, training.target
        xig = XIntegratedGradients(model, strategy="single_pass")
        steps = {
            "plain": training.step(None),
            TWO_LINES: training.step(lambda: xig.attribute(x, target=target, create_graph=True)),
            SHARED: training.shared(xig, parameters_alone=False),
            ALONE: training.shared(xig, parameters_alone=True),
            BY_HAND: training.step(lambda: by_hand(training)),
            EXPECTED: training.step(lambda: expected_gradients(model, x, x, target=target)),
        }
        return interleaved(steps, rounds=rounds, calls=calls, device=device)

    return of


@pytest.mark.parametrize("form", [TWO_LINES, SHARED, ALONE])
@pytest.mark.parametrize("name", CASES)
def test_a_prior_on_one_pass_costs_less_than_two_more_steps(
    name: str, form: str, timed: Callable[[str], Timings], report: Report
) -> None:
    ratio = timed(name).ratio(form, "plain")
    report.add(SECTION, f"{name}, {form}", f"{ratio:.2f}x", f"<= {MOST}x", held=ratio <= MOST)
    assert ratio <= MOST


@pytest.mark.parametrize("other", [BY_HAND, EXPECTED])
@pytest.mark.parametrize("name", CASES)
def test_it_costs_less_than_the_other_ways(
    name: str, other: str, timed: Callable[[str], Timings], report: Report
) -> None:
    timings = timed(name)
    report.add(SECTION, f"{name}, {other}", f"{timings.ratio(other, 'plain'):.2f}x", "", held=True)
    assert timings.ratio(SHARED, other) < 1


@pytest.mark.parametrize("name", CASES)
def test_a_prior_through_a_compiled_graph(name: str, report: Report, device: torch.device) -> None:
    """What tracing and compiling the attribution would bring, had the package taken it."""
    torch.manual_seed(0)
    build, rounds, calls = CASES[name]
    training = build(device)
    parameters = list(training.model.parameters())
    function = as_function(training)
    traced = make_fx(function)(parameters, training.inputs)

    def step_of(attributed: Callable[..., tuple[Tensor, Tensor]]) -> Callable[[], None]:
        optimizer = torch.optim.Adam(parameters, lr=0.0)  # the same gradients in every step

        def step() -> None:
            optimizer.zero_grad()
            outputs, attributions = attributed(parameters, training.inputs)
            (training.loss(outputs) + training.prior(attributions)).backward()
            optimizer.step()

        return step

    steps = {
        "plain": training.step(None),
        ON_THE_SAME: step_of(function),
        TRACED: step_of(traced),
        COMPILED: step_of(torch.compile(traced)),
    }
    steps[ON_THE_SAME]()
    expected = [p.grad.clone() for p in parameters if p.grad is not None]
    for way in (TRACED, COMPILED):
        steps[way]()
        found = [p.grad for p in parameters if p.grad is not None]
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)
    timings = interleaved(steps, rounds=rounds, calls=calls, device=device)
    for way in (ON_THE_SAME, TRACED, COMPILED):
        ratio = timings.ratio(way, "plain")
        report.add(SECTION, f"{name}, {way}", f"{ratio:.2f}x", "", held=True)
