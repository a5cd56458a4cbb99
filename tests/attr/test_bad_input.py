"""Wrong calls raise what Captum raises; calls that Captum takes are taken."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from bias_free_networks import biased_mlp, mlp, rows
from captum.attr import IntegratedGradients
from torch import nn
from torch.testing import assert_close
from wrong_calls import WRONG_CALLS, outcome

from captum_xdnn import NotHomogeneousError, XIntegratedGradients

NETWORKS = {"homogeneous": mlp(), "refused": biased_mlp()}
SITUATIONS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "homogeneous": ("homogeneous", {}, {}),
    "refused": ("refused", {}, {}),
    "captum": ("homogeneous", {"strategy": "captum"}, {}),
    "single_pass": ("homogeneous", {"strategy": "single_pass"}, {}),
    "homogeneous, with a graph": ("homogeneous", {}, {"create_graph": True}),
    "refused, with a graph": ("refused", {}, {"create_graph": True}),
}


CONSTANT = ("inputs a constant output", "function returns indices")
"""Here a demanded single pass says that the output does not move, which says more."""


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_the_exception_is_captums(name: str) -> None:
    wrong = WRONG_CALLS[name]
    problems = []
    demanded = ("single_pass",) if name in CONSTANT else ()
    functions = {kind: wrong.wrap(net) for kind, net in NETWORKS.items()}
    for situation, (kind, settings, more) in SITUATIONS.items():
        function = functions[kind]
        if situation in demanded:
            found = outcome(XIntegratedGradients(function, **settings), wrong)
            assert isinstance(found, NotHomogeneousError)
            continue
        theirs = outcome(IntegratedGradients(function), wrong)
        ours = outcome(XIntegratedGradients(function, **settings), wrong, **more)
        if isinstance(theirs, Exception):
            if type(ours) is not type(theirs):
                problems.append(f"{situation}: Captum {theirs!r:.80}, here {ours!r:.120}")
        elif isinstance(ours, NotHomogeneousError):
            if settings.get("strategy") != "single_pass":
                problems.append(f"{situation}: {ours!r:.120}")
        elif isinstance(ours, Exception):
            problems.append(f"{situation}: Captum returns, here {ours!r:.120}")
        elif name != "baselines not finite":
            assert_close(ours, theirs, rtol=1e-6, atol=1e-9, equal_nan=True)
    assert problems == []


def test_the_table_is_no_toy() -> None:
    refused = [
        name
        for name, wrong in WRONG_CALLS.items()
        if isinstance(
            outcome(IntegratedGradients(wrong.wrap(NETWORKS["homogeneous"])), wrong), Exception
        )
    ]
    assert len(refused) >= 80


@pytest.mark.parametrize("strategy", ["nonsense", "", None, "Auto", 1])
def test_an_unknown_strategy(strategy: Any) -> None:
    message = f"strategy must be one of auto, single_pass, captum, found {strategy!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        XIntegratedGradients(mlp(), strategy=strategy)


def test_a_demanded_single_pass_names_every_blocker() -> None:
    net = nn.Sequential(
        nn.Linear(6, 8),
        nn.GELU(),
        nn.LayerNorm(8),
        nn.Linear(8, 3, bias=False),
        nn.Softmax(1),
    ).double()
    xig = XIntegratedGradients(net, strategy="single_pass")
    with pytest.raises(NotHomogeneousError) as raised:
        xig.attribute(rows(), target=1)
    message = str(raised.value)
    assert message == xig.certificate.demanded()
    assert "Captum's own" not in message  # nothing else ran
    assert xig.last_route == "captum"
    assert [(b.module, b.module_type) for b in xig.certificate.blockers] == [
        ("0", "Linear"),
        ("1", "GELU"),
        ("2", "LayerNorm"),
        ("4", "Softmax"),
    ]
    for kind in ("Linear", "GELU", "LayerNorm", "Softmax"):
        assert f"1 x {kind}: " in message


def test_a_demanded_single_pass_of_a_forward_that_decides_by_values() -> None:
    def branches(z: torch.Tensor) -> torch.Tensor:
        return z.sum(1) if z.sum() > 0 else -z.sum(1)

    xig = XIntegratedGradients(branches, strategy="single_pass")
    with pytest.raises(NotHomogeneousError, match="Python reads a value that moves") as raised:
        xig.attribute(rows())
    assert "without Python decisions on values of tensors" in str(raised.value)


def test_a_demanded_single_pass_of_a_converted_call() -> None:
    xig = XIntegratedGradients(mlp(), strategy="single_pass")
    with pytest.raises(NotHomogeneousError, match="of a form that Captum refuses or converts"):
        xig.attribute(rows(), torch.zeros(4, 6), target=1)


def test_a_demanded_single_pass_with_a_graph_says_which_values_are_trained() -> None:
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3, bias=False)).double()
    nn.init.zeros_(net[0].bias)
    xig = XIntegratedGradients(net, strategy="single_pass")
    with pytest.raises(NotHomogeneousError, match=r"require a gradient \(0\.bias\)") as raised:
        xig.attribute(rows(), target=1, create_graph=True)
    assert "requires_grad_(False)" in str(raised.value)
    with pytest.raises(NotHomogeneousError, match="derivative by a baseline"):
        xig.attribute(
            rows(),
            torch.zeros(1, 6, dtype=torch.float64, requires_grad=True),
            target=1,
            create_graph=True,
        )
