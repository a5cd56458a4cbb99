"""Ways to change the modules of a network and what acts on them: each gives the network, the change, and perhaps its undoing."""

from __future__ import annotations

import torch
from comparing import linear, network
from settings_makers import change
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.module import register_module_forward_hook


class Flagged(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.act, self.soft = (
            linear(8),
            linear(2, seed=1, width=8),
            nn.ReLU(),
            False,
        )
        self.table, self.scale = {"shift": 0.0}, 1.0

    def forward(self, x: Tensor) -> Tensor:
        z = self.first(x) * self.scale + self.table["shift"]
        return self.last(functional.softplus(z) if self.soft else self.act(z))


@change
def layer_exchanged():
    net = network()
    old = net[0]
    return (
        net,
        lambda: net.__setitem__(0, linear(8, bias=True, seed=9)),
        lambda: net.__setitem__(0, old),
    )


@change
def activation_exchanged():
    net = network()
    return net, lambda: net.__setitem__(1, nn.Tanh()), lambda: net.__setitem__(1, nn.ReLU())


@change
def activation_by_attribute():
    net = Flagged()
    return net, lambda: setattr(net, "act", nn.GELU()), lambda: setattr(net, "act", nn.ReLU())


@change
def activation_by_flag():
    net = Flagged()
    return net, lambda: setattr(net, "soft", True), lambda: setattr(net, "soft", False)


@change
def table_of_the_network():
    net = Flagged()
    return net, lambda: net.table.update(shift=0.4), lambda: net.table.update(shift=0.0)


@change
def number_of_the_network():
    net = Flagged()
    return net, lambda: setattr(net, "scale", 3.0), lambda: setattr(net, "scale", 1.0)


@change
def slope_of_an_activation():
    net = network()
    net[1] = nn.Threshold(0.0, 0.0)
    return net, lambda: setattr(net[1], "threshold", 0.2), lambda: setattr(net[1], "threshold", 0.0)


@change
def order_of_modules():
    net = nn.ModuleList([linear(4, bias=True), nn.ReLU()])
    last = linear(2, seed=2)

    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts, self.last = net, last

        def forward(self, x):
            for part in self.parts:
                x = part(x)
            return self.last(x)

    def reverse():
        net[0], net[1] = net[1], net[0]

    return Chain(), reverse, reverse


@change
def forward_of_an_instance():
    net = network()
    return net, lambda: setattr(net[1], "forward", torch.tanh), lambda: delattr(net[1], "forward")


@change
def forward_of_a_class():
    class Act(nn.Module):
        def forward(self, x):
            return x.relu()

    old, net = Act.forward, network()
    net[1] = Act()
    new = lambda self, x: x.tanh()  # noqa: E731
    return net, lambda: setattr(Act, "forward", new), lambda: setattr(Act, "forward", old)


@change
def class_of_a_module():
    net = network()
    return (
        net,
        lambda: setattr(net[1], "__class__", nn.Tanh),
        lambda: setattr(net[1], "__class__", nn.ReLU),
    )


@change
def relu_monkeypatched():
    net, old = network(), functional.relu
    new = lambda x, inplace=False: functional.softplus(x)  # noqa: E731
    return net, lambda: setattr(functional, "relu", new), lambda: setattr(functional, "relu", old)


@change
def hook_added():
    net, handles = network(), []
    add = lambda: handles.append(net[1].register_forward_hook(lambda m, i, o: (o + 0.4).tanh()))  # noqa: E731
    return net, add, lambda: handles.pop().remove()


@change
def pre_hook_added():
    net, handles = network(), []
    add = lambda: handles.append(net[1].register_forward_pre_hook(lambda m, i: i[0] + 0.4))  # noqa: E731
    return net, add, lambda: handles.pop().remove()


@change
def hook_removed():
    net = network()
    handle = net[1].register_forward_hook(lambda m, i, o: o * 2 + 0.4)
    return net, handle.remove


@change
def hook_with_a_number():
    net, held = network(), [0.0]
    net[1].register_forward_hook(lambda m, i, o: (o + held[0]).tanh())
    return net, lambda: held.__setitem__(0, 0.4), lambda: held.__setitem__(0, 0.0)


@change
def global_hook_exchanged():
    net = network()
    scale = lambda m, i, o: o * 2 if isinstance(m, nn.ReLU) else None  # noqa: E731
    bend = lambda m, i, o: (o + 0.4).tanh() if isinstance(m, nn.ReLU) else None  # noqa: E731
    handles = [register_module_forward_hook(scale)]

    def exchange() -> None:
        handles.pop().remove()
        handles.append(register_module_forward_hook(bend))

    def back() -> None:
        handles.pop().remove()
        handles.append(register_module_forward_hook(scale))

    net.handles = handles
    return net, exchange, back, lambda: None


@change
def gradient_hook_added():
    net, handles = network(), []
    double = lambda m, given, taken: (given[0] * 2,)  # noqa: E731
    return (
        net,
        lambda: handles.append(net[2].register_full_backward_hook(double)),
        lambda: handles.pop().remove(),
    )


@change
def training_flag():
    net = network()
    net.insert(1, nn.BatchNorm1d(8, affine=False, track_running_stats=True).double().eval())
    return net, lambda: setattr(net[1], "training", True)


@change
def running_mean():
    net = network()
    net.insert(1, nn.BatchNorm1d(8, affine=False).double().eval())
    return net, lambda: net[1].running_mean.fill_(0.3), lambda: net[1].running_mean.zero_()


@change
def eps_of_a_norm():
    net = network()
    net.insert(1, nn.LayerNorm(8, eps=0.0, bias=False).double())
    return net, lambda: setattr(net[1], "eps", 0.5), lambda: setattr(net[1], "eps", 0.0)


@change
def default_dtype():
    first, last = linear(8), linear(2, seed=1, width=8)
    shift = lambda: 0.4 * (torch.get_default_dtype() == torch.float64)  # noqa: E731
    function = lambda x: last((first(x) + shift()).relu())  # noqa: E731
    return (
        function,
        lambda: torch.set_default_dtype(torch.float64),
        lambda: torch.set_default_dtype(torch.float32),
    )
