"""``Homogenized`` around whole networks: certificates, attributions, dtypes, export, training."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients
from nonlinear_networks import EXAMPLES, conv_net, gelu_net, nested, transformer, two_inputs
from torch import nn
from torch.testing import assert_close

from captum_xdnn import XIntegratedGradients, certify
from captum_xdnn.nn import Homogenized


@pytest.mark.parametrize(("name", "examples"), [*((n, 3) for n in EXAMPLES), ("rows", 1)])
def test_certified(name: str, examples: int) -> None:
    build, shape = EXAMPLES[name]
    certificate = certify(
        Homogenized(build(), 3.0), torch.zeros(examples, *shape, dtype=torch.float64)
    )
    assert certificate.degree == 1, certificate
    assert not certificate.affine
    assert not certificate.relied


def test_certified_in_several_inputs_with_a_further_argument() -> None:
    inputs = tuple(torch.zeros(shape, dtype=torch.float64) for shape in ((3, 6), (3, 2, 4)))
    network = Homogenized(two_inputs(), n_inputs=2)
    assert certify(network, inputs, additional_forward_args=0.5).degree == 1
    # The length of the first alone leaves the second where it is.
    assert not certify(Homogenized(two_inputs()), inputs).homogeneous


def test_a_vision_transformer_is_certified() -> None:
    torchvision = pytest.importorskip("torchvision")
    network = torchvision.models.VisionTransformer(32, 16, 1, 2, hidden_dim=8, mlp_dim=16)
    x = torch.zeros(2, 3, 32, 32)
    assert certify(Homogenized(network.eval()), x).degree == 1


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_single_pass_equals_captums_integral(name: str) -> None:
    build, shape = EXAMPLES[name]
    network = Homogenized(build(), 2.0)
    x = torch.randn(3, *shape, dtype=torch.float64)
    target: Any = (0, 1) if name == "sequences" else 1
    xig = XIntegratedGradients(network, strategy="single_pass")
    ours, delta = xig.attribute(x, target=target, return_convergence_delta=True)
    assert xig.last_route == "single_pass"
    assert_close(ours, IntegratedGradients(network).attribute(x, target=target))
    assert_close(delta, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)


def test_a_single_pass_through_two_inputs_equals_captums_integral() -> None:
    network = Homogenized(two_inputs(), n_inputs=2)
    inputs = tuple(torch.randn(shape, dtype=torch.float64) for shape in ((3, 6), (3, 2, 4)))
    call: dict[str, Any] = {"target": 2, "additional_forward_args": 0.5}
    xig = XIntegratedGradients(network, strategy="single_pass")
    theirs = IntegratedGradients(network).attribute(inputs, **call)
    assert_close(xig.attribute(inputs, **call), theirs)


def test_a_zero_example_is_attributed_zero() -> None:
    x = torch.randn(3, 6, dtype=torch.float64)
    x[1] = 0
    xig = XIntegratedGradients(Homogenized(gelu_net()), strategy="single_pass")
    attributions = xig.attribute(x, target=0)
    assert attributions[1].eq(0).all()
    assert attributions.isfinite().all()


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float16, 4e-3), (torch.bfloat16, 4e-2), (torch.float32, 1e-6)],
)
def test_low_precision(dtype: torch.dtype, tolerance: float) -> None:
    network = gelu_net()
    # Its squared length is beyond float16.
    x = (100 * torch.randn(4, 6)).to(dtype)
    expected = Homogenized(network, 3.0)(x.double())
    y = Homogenized(copy.deepcopy(network).to(dtype), 3.0)(x)
    assert y.dtype == dtype
    assert_close(y.double(), expected, rtol=tolerance, atol=100 * tolerance)
    assert certify(Homogenized(gelu_net().to(dtype)), x).degree == 1


def test_autocast() -> None:
    network, x = Homogenized(gelu_net().float()), torch.randn(4, 6)
    with torch.autocast("cpu", torch.bfloat16):
        y = network(x)
    assert_close(y.float(), network(x), rtol=4e-2, atol=4e-2)


def test_training_mode_reaches_the_network() -> None:
    network = Homogenized(transformer()).train()
    x = torch.randn(2, 3, 8, dtype=torch.float64)
    assert (network(x) - network(x)).abs().max() > 1e-3  # dropout
    network.eval()
    assert_close(network(x), network(x), rtol=0, atol=0)
    norm = Homogenized(conv_net()).train()
    norm(torch.randn(4, 2, 5, 5, dtype=torch.float64))
    assert int(norm.module[1].num_batches_tracked) == 1


def test_it_learns() -> None:
    network, x = Homogenized(gelu_net()), torch.randn(32, 6, dtype=torch.float64)
    x[0] = 0
    labels = x[:, :3].argmax(1)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.nll_loss(network(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 1.3 * losses[0] < 0  # the negative score of the label


def test_state_dict_copy_and_pickle() -> None:
    network, x = Homogenized(gelu_net(), 2.0), torch.randn(2, 6, dtype=torch.float64)
    assert list(network.state_dict()) == [f"module.{n}" for n in network.module.state_dict()]
    loaded = Homogenized(gelu_net(), 2.0)
    loaded.load_state_dict(network.state_dict())
    for other in (loaded, copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert_close(other(x), network(x), rtol=0, atol=0)


@pytest.mark.parametrize("build", [gelu_net, nested])
def test_export_with_a_free_batch_size(build: Any) -> None:
    network, x = Homogenized(build()), torch.randn(3, 6, dtype=torch.float64)
    exported = torch.export.export(
        network, (x,), dynamic_shapes=(({0: torch.export.Dim("batch")},),), strict=False
    )
    x = torch.randn(5, 6, dtype=torch.float64)
    x[2] = 0
    assert_close(exported.module()(x), network(x))


def test_an_empty_batch() -> None:
    assert Homogenized(gelu_net())(torch.zeros(0, 6, dtype=torch.float64)).shape == (0, 3)


def test_single_numbers_as_examples() -> None:
    x = torch.tensor([2.0, 0.0, -3.0])
    assert_close(
        Homogenized(nn.Softplus())(x), x.abs() * nn.functional.softplus(x.sign()) * (x != 0)
    )
