"""A prior in a user's training loop: certificates, mixed precision, accumulation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.testing import assert_close
from trained_networks import convolutional, images, perceptron, rows

from captum_xdnn import XIntegratedGradients
from captum_xdnn.priors import gini_sparsity, l1
from captum_xdnn.proof import watching
from captum_xdnn.recording import steps

LOOPS: dict[str, tuple[Callable[[], nn.Module], Callable[..., Tensor]]] = {
    "perceptron": (perceptron, rows),
    "convolutional": (convolutional, images),
}


def loss_of(net: nn.Module, x: Tensor, labels: Tensor, xig: XIntegratedGradients) -> Tensor:
    attributions = xig.attribute(x, target=labels, create_graph=True)
    return cross_entropy(net(x), labels) + 0.1 * gini_sparsity(attributions)


@pytest.mark.parametrize("name", LOOPS)
def test_one_proof_and_one_certificate_for_all_steps(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, data = LOOPS[name]
    net, x = build(), data()
    labels = torch.arange(len(x)) % 3
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    steps.forget()
    proofs, prove = [], watching.prove
    monkeypatch.setattr(watching, "prove", lambda *a, **k: proofs.append(1) or prove(*a, **k))
    losses, certificates = [], []
    for _ in range(8):
        xig = XIntegratedGradients(net)  # a new object in each step changes nothing
        loss = loss_of(net, x, labels, xig)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert xig.last_route == "single_pass"
        losses.append(loss.item())
        certificates.append(xig.certificate)
    assert proofs == [1]
    assert all(certificate is certificates[0] for certificate in certificates)
    assert losses == sorted(losses, reverse=True)


def test_a_bias_that_starts_to_learn_is_seen() -> None:
    net, x = perceptron(), rows()
    net[0] = nn.Linear(6, 16).double()
    nn.init.zeros_(net[0].bias)
    net[0].bias.requires_grad_(False)
    xig = XIntegratedGradients(net)
    xig.attribute(x, target=0, create_graph=True)
    assert xig.last_route == "single_pass"
    with torch.no_grad():
        net[0].bias += 0.5
    xig.attribute(x, target=0, create_graph=True)
    assert xig.last_route != "single_pass"


@pytest.mark.parametrize("parts", [2, 5])
def test_gradients_accumulate(parts: int) -> None:
    net, x = perceptron(), rows(10)
    labels, xig = torch.arange(10) % 3, XIntegratedGradients(net, strategy="single_pass")

    def loss(part: Tensor, targets: Tensor) -> Tensor:
        attributions = xig.attribute(part, target=targets, create_graph=True)
        return cross_entropy(net(part), targets) + l1(attributions)

    loss(x, labels).backward()
    at_once = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    for part, targets in zip(x.chunk(parts), labels.chunk(parts), strict=True):
        (loss(part, targets) / parts).backward()
    for found, expected in zip((p.grad for p in net.parameters()), at_once, strict=True):
        assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_what_was_accumulated_before_is_left() -> None:
    net, x = perceptron(), rows()
    net(x).sum().backward()
    before = [p.grad.clone() for p in net.parameters()]
    XIntegratedGradients(net).attribute(x, target=0, create_graph=True)
    assert all(torch.equal(p.grad, b) for p, b in zip(net.parameters(), before, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", LOOPS)
def test_mixed_precision_with_a_gradient_scaler(name: str, dtype: torch.dtype) -> None:
    build, data = LOOPS[name]
    net, x = build().float(), data(32).float()
    labels, xig = torch.arange(32) % 3, XIntegratedGradients(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    loss_of(net, x, labels, xig).backward()
    full = [p.grad.clone() for p in net.parameters()]
    losses = []
    for step in range(6):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype):
            loss = loss_of(net, x, labels, xig)
        assert xig.last_route == "single_pass"
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        if step == 0:
            for p, expected in zip(net.parameters(), full, strict=True):
                assert p.grad.dtype == torch.float32
                gap = (p.grad - expected).norm() / expected.norm()
                assert gap < 64 * torch.finfo(dtype).eps  # some units change sides of a kink
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_a_network_with_biases_trains_on_the_other_routes() -> None:
    net, x = perceptron(bias=True), rows(8)
    labels, optimizer = torch.arange(8) % 3, torch.optim.Adam(net.parameters(), lr=1e-2)
    xig, losses = XIntegratedGradients(net), []
    for _ in range(6):
        attributions = xig.attribute(x, target=labels, n_steps=20, create_graph=True)
        loss = cross_entropy(net(x), labels) + 0.1 * gini_sparsity(attributions)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert xig.last_route in ("hoisted", "captum")
    assert losses == sorted(losses, reverse=True)
