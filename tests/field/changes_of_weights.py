"""Ways to change the weights of a network: each gives the network, the change, and perhaps its undoing."""

from __future__ import annotations

from typing import Any

import torch
from comparing import inputs, linear, network
from settings_makers import CHANGES, change
from torch import nn
from torch.nn.utils import parametrizations, prune


def zeroed() -> nn.Sequential:
    """A network whose biases are zero: what moves them decides the verdict."""
    net = network(bias=True)
    for layer in (net[0], net[2]):
        nn.init.zeros_(layer.bias)
    return net


def _by(optimizer: Any, **options: Any) -> Any:
    def make() -> Any:
        net = zeroed()
        made = optimizer(net.parameters(), lr=0.3, **options)

        def step() -> None:
            made.zero_grad()
            net(inputs()).square().sum().backward()
            made.step()

        return net, step

    return make


CHANGES["adamw_fused"] = _by(torch.optim.AdamW, fused=True)
CHANGES["adam_fused"] = _by(torch.optim.Adam, fused=True)
CHANGES["adamw_foreach"] = _by(torch.optim.AdamW, foreach=True)
CHANGES["sgd_fused"] = _by(torch.optim.SGD, fused=True)
CHANGES["sgd_foreach"] = _by(torch.optim.SGD, foreach=True)
CHANGES["sgd_momentum"] = _by(torch.optim.SGD, momentum=0.9)
CHANGES["adagrad_fused"] = _by(torch.optim.Adagrad, fused=True)
CHANGES["rmsprop"] = _by(torch.optim.RMSprop)


def _written(write: Any) -> Any:
    def make() -> Any:
        net = zeroed()
        return net, lambda: write(net), lambda: net[0].bias.data.zero_()

    return make


def _no_grad_copy(net: nn.Sequential) -> None:
    with torch.no_grad():
        net[0].bias.copy_(torch.linspace(0.1, 0.9, 8))


def _by_storage(net: nn.Sequential) -> None:
    storage = net[0].bias.untyped_storage()
    storage.copy_(torch.linspace(0.1, 0.9, 8, dtype=torch.float64).untyped_storage())


CHANGES["bias_by_data"] = _written(lambda net: net[0].bias.data.fill_(0.4))
CHANGES["bias_by_data_set"] = _written(
    lambda net: setattr(net[0].bias, "data", net[0].bias.data + 0.4)
)
CHANGES["bias_by_numpy"] = _written(lambda net: net[0].bias.detach().numpy().fill(0.4))
CHANGES["bias_by_dlpack"] = _written(lambda net: torch.from_dlpack(net[0].bias.detach()).fill_(0.4))
CHANGES["bias_by_copy"] = _written(_no_grad_copy)
CHANGES["bias_by_storage"] = _written(_by_storage)
CHANGES["bias_by_detach"] = _written(lambda net: net[0].bias.detach().add_(0.4))
CHANGES["bias_by_init"] = _written(lambda net: nn.init.constant_(net[0].bias, 0.4))
CHANGES["bias_one_entry"] = _written(lambda net: net[0].bias.data[3:4].fill_(0.4))


@change
def bias_by_view_from_before():
    net = zeroed()
    view = net[0].bias.detach().numpy()
    return net, lambda: view.__setitem__(2, 0.7), lambda: view.fill(0)


@change
def load_state_dict():
    net, other, same = zeroed(), network(bias=True, seed=7), zeroed()
    return (
        net,
        lambda: net.load_state_dict(other.state_dict()),
        lambda: net.load_state_dict(same.state_dict()),
    )


@change
def load_state_dict_assigned():
    net, other = zeroed(), network(bias=True, seed=7)
    return net, lambda: net.load_state_dict(other.state_dict(), assign=True)


@change
def parameter_exchanged():
    net = zeroed()
    old = net[0].bias
    new = nn.Parameter(torch.full((8,), 0.4, dtype=torch.float64))
    return net, lambda: setattr(net[0], "bias", new), lambda: setattr(net[0], "bias", old)


@change
def tensors_swapped():
    net = zeroed()
    other = nn.Parameter(torch.full((8,), 0.4, dtype=torch.float64))
    swap = lambda: torch.utils.swap_tensors(net[0].bias, other)  # noqa: E731
    return net, swap, swap


@change
def bias_removed_and_back():
    net = network(bias=True)
    old = net[0].bias
    return net, lambda: setattr(net[0], "bias", None), lambda: setattr(net[0], "bias", old)


@change
def weight_parametrized():
    net = network()
    return net, lambda: parametrizations.orthogonal(net[0])


@change
def weight_norm_scaled():
    net = network()
    parametrizations.weight_norm(net[0])
    held = net[0].parametrizations.weight.original0
    return net, lambda: held.data.mul_(torch.linspace(1, 3, 8)[:, None])


@change
def weight_pruned():
    net = network()
    return net, lambda: prune.l1_unstructured(net[0], "weight", 0.5)


@change
def number_from_a_weight():
    first, last = linear(8), linear(2, seed=1, width=8)
    function = lambda x: last((first(x) + max(0.0, first.weight[0, 0].item() - 0.6)).relu())  # noqa: E731
    return function, lambda: first.weight.data.add_(1.0)


@change
def branch_on_a_weight():
    first, last = linear(8), linear(2, seed=1, width=8)
    function = lambda x: last(first(x).relu() if first.weight.sum() > 0 else first(x).tanh())  # noqa: E731
    return function, lambda: first.weight.data.neg_(), lambda: first.weight.data.neg_()
