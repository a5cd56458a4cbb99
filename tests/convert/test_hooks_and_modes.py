"""An exchanged module keeps the hooks and the mode of the one whose place it takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from captum_xdnn.convert import to_xdnn

from .networks import conv_net, images, mlp, rows

Calls = list[tuple[str, str]]


def _hooked(calls: Calls) -> tuple[nn.Sequential, list[Any]]:
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.GELU(), nn.Softmax(-1)).eval()
    handles = []

    def noting(kind: str) -> Any:
        return lambda module, *_: calls.append((kind, type(module).__name__))

    for module in list(network)[1:]:
        handles += [
            module.register_forward_hook(noting("forward")),
            module.register_forward_pre_hook(noting("pre")),
            module.register_full_backward_hook(noting("backward")),
            module.register_full_backward_pre_hook(noting("backward pre")),
            module.register_forward_hook(
                lambda module, args, kwargs, _: calls.append(("kwargs", type(module).__name__)),
                with_kwargs=True,
            ),
            module.register_forward_hook(noting("always"), always_call=True),
        ]
    return network, handles


KINDS = ("forward", "pre", "backward", "backward pre", "kwargs", "always")


@pytest.mark.parametrize(
    ("inplace", "choice", "norm"),
    [
        (False, "uncentered", "UncenteredBatchNorm1d"),
        (True, "uncentered", "UncenteredBatchNorm1d"),
        # A hook of the backward pass stands between the layer and the norm.
        (False, "fold", "ChannelScale"),
        (False, "strip", "Identity"),
    ],
)
def test_every_kind_of_hook_is_called(inplace: bool, choice: Any, norm: str) -> None:
    calls: Calls = []
    network, _ = _hooked(calls)
    made, _ = to_xdnn(network, inputs=rows(), inplace=inplace, batch_norm=choice)
    calls.clear()
    made(rows().requires_grad_()).sum().backward()
    assert set(calls) == {(kind, name) for kind in KINDS for name in (norm, "ReLU", "Identity")}


def test_in_place_the_handles_still_remove_them() -> None:
    calls: Calls = []
    network, handles = _hooked(calls)
    made, _ = to_xdnn(network, inputs=rows(), inplace=True)
    for handle in handles:
        handle.remove()
    calls.clear()
    made(rows().requires_grad_()).sum().backward()
    assert calls == []


def test_a_full_backward_hook_changes_the_gradient_as_before() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.GELU())
    network[1].register_full_backward_hook(lambda module, grads, _: (3 * grads[0],))
    made, _ = to_xdnn(network, inputs=rows())
    x = rows().requires_grad_()
    (hooked,) = torch.autograd.grad(made(x).sum(), x)
    made[1]._backward_hooks.clear()
    (plain,) = torch.autograd.grad(made(x).sum(), x)
    assert_close(hooked, 3 * plain)


@pytest.mark.parametrize(
    ("inplace", "choice"),
    [(False, "uncentered"), (True, "uncentered"), (False, "fold"), (True, "strip")],
)
def test_each_module_keeps_its_mode(inplace: bool, choice: Any) -> None:
    network = conv_net().train()
    network[1].eval()
    network[5].eval()
    modes = [m.training for m in network]
    made, _ = to_xdnn(network, inputs=images(), inplace=inplace, batch_norm=choice)
    assert [m.training for m in made] == modes
    assert made.training


def test_modes_are_set_without_calling_train() -> None:
    class Merging(nn.Linear):
        """Adapters merge their weights when they are told to evaluate."""

        def train(self, mode: bool = True) -> nn.Linear:
            raise AssertionError

    made, report = to_xdnn(nn.Sequential(Merging(4, 3), nn.GELU()), inputs=rows())
    assert made[0].training
    assert report.homogeneous


def test_hooks_of_the_network_are_left_alone() -> None:
    seen: list[str] = []
    network = mlp(nn.Softmax(-1))
    network.register_forward_hook(lambda *_: seen.append("network"))
    made, _ = to_xdnn(network, inputs=rows())
    seen.clear()
    made(rows())
    assert seen == ["network"]
