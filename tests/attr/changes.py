"""Ways to change what a certified function computes, behind the back of its certificate."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import module as module_globals

SETTINGS = {"shift": 0.0}
GLOBAL_SHIFT = 0.0


class Model(nn.Module):
    """Homogeneous as built; everything in it can be turned against that."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.5)
        self.act = nn.ReLU()
        self.last = nn.Linear(8, 3)
        self.shift = 0.0
        self.options = {"shifts": [0.0, 0.0]}
        for bias in (self.first.bias, self.last.bias):
            nn.init.zeros_(bias)
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.first(x)) + self.shift + self.options["shifts"][1]
        h = functional.leaky_relu(self.act(self.drop(h)) - 0.3 * torch.relu(h))
        return self.last(h + SETTINGS["shift"] + GLOBAL_SHIFT)


Change = Callable[[Model], AbstractContextManager[Any] | None]


def trained_bias(model: Model) -> None:
    optimizer = torch.optim.SGD([model.first.bias], lr=0.1)
    model(torch.ones(2, 6, dtype=torch.float64)).square().sum().backward()
    optimizer.step()
    model.zero_grad()


def loaded_state(model: Model) -> None:
    state = {name: value.clone() for name, value in model.state_dict().items()}
    state["first.bias"] += 0.4
    model.load_state_dict(state)


def assigned_state(model: Model) -> None:
    state = {name: value.clone() for name, value in model.state_dict().items()}
    state["norm.running_mean"] += 0.4
    model.load_state_dict(state, assign=True)


def train_mode(model: Model) -> None:
    model.train()


def dropout_in_train_mode(model: Model) -> None:
    model.drop.train()


def saturating(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    return torch.sigmoid(output)


def forward_hook(model: Model) -> None:
    model.act.register_forward_hook(saturating)


def hook_of_the_function(model: Model) -> None:
    model.register_forward_hook(saturating)


def forward_pre_hook(model: Model) -> None:
    model.last.register_forward_pre_hook(lambda module, args: (torch.tanh(args[0]),))


@contextmanager
def global_forward_hook(model: Model) -> Iterator[None]:
    handle = module_globals.register_module_forward_hook(
        lambda module, args, output: output + 0.3 if isinstance(module, nn.ReLU) else None
    )
    try:
        yield
    finally:
        handle.remove()


def replaced_module(model: Model) -> None:
    model.act = nn.Softplus()


def replaced_by_its_like(model: Model) -> None:
    model.first = nn.Linear(6, 8).double()


def replaced_parameter(model: Model) -> None:
    model.first.bias = nn.Parameter(torch.full((8,), 0.4, dtype=torch.float64))


def replaced_forward(model: Model) -> None:
    model.act.forward = torch.sigmoid


def attribute_changed(model: Model) -> None:
    model.shift = 0.4


def attribute_in_containers_changed(model: Model) -> None:
    model.options["shifts"][1] = 0.4


def functional_patched(model: Model) -> AbstractContextManager[Any]:
    return mock.patch("torch.nn.functional.relu", lambda x, inplace=False: torch.sigmoid(x))


def torch_patched(model: Model) -> AbstractContextManager[Any]:
    return mock.patch("torch.relu", torch.tanh)


def degree_patched(model: Model) -> AbstractContextManager[Any]:
    return mock.patch("torch.nn.functional.leaky_relu", torch.square)


def class_patched(model: Model) -> AbstractContextManager[Any]:
    return mock.patch.object(nn.ReLU, "forward", lambda self, x: torch.sigmoid(x))


def method_patched(model: Model) -> AbstractContextManager[Any]:
    return mock.patch.object(
        Model, "forward", lambda self, x: self.last(torch.sigmoid(self.first(x)))
    )


def global_changed(model: Model) -> AbstractContextManager[Any]:
    return mock.patch(f"{__name__}.GLOBAL_SHIFT", 0.4)


def global_container_changed(model: Model) -> AbstractContextManager[Any]:
    return mock.patch.dict(SETTINGS, shift=0.4)


def data_changed(model: Model) -> None:
    model.first.bias.data.add_(0.4)


def memory_changed(model: Model) -> None:
    model.first.bias.detach().numpy()[:] = 0.4


def patched_inside_of_torch(model: Model) -> AbstractContextManager[Any]:
    return mock.patch("torch._C._nn.leaky_relu", lambda x, slope: torch.sigmoid(x))


SEEN: dict[str, Change] = {
    change.__name__: change
    for change in (
        trained_bias,
        loaded_state,
        assigned_state,
        train_mode,
        dropout_in_train_mode,
        forward_hook,
        hook_of_the_function,
        forward_pre_hook,
        global_forward_hook,
        replaced_module,
        replaced_by_its_like,
        replaced_parameter,
        replaced_forward,
        attribute_changed,
        attribute_in_containers_changed,
        functional_patched,
        torch_patched,
        degree_patched,
        class_patched,
        method_patched,
        global_changed,
        global_container_changed,
        data_changed,
        memory_changed,
        patched_inside_of_torch,
    )
}
"""The next run shows these: no warning."""

STILL_EXACT = {"degree_patched", "global_changed", "global_container_changed"}
"""After these the function has another certificate: of degree 2, or affine in its output."""


def full_backward_hook(model: Model) -> None:
    model.act.register_full_backward_hook(lambda module, into, out: (2 * into[0],))


def full_backward_pre_hook(model: Model) -> None:
    model.act.register_full_backward_pre_hook(lambda module, out: (out[0].clamp(min=0),))


def guided_backprop(model: Model) -> None:
    """As Captum's GuidedBackprop does it: hooks on tensors, set by a forward pre-hook."""

    def pre_hook(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        held = args[0].clone()
        held.register_hook(functional.relu)
        return (held,)

    model.act.register_forward_pre_hook(pre_hook)


UNSEEN: dict[str, Change] = {
    change.__name__: change
    for change in (
        full_backward_hook,
        full_backward_pre_hook,
        guided_backprop,
    )
}
"""Only the numbers of the call show these: the guard warns."""


def applied(change: Change, model: Model) -> AbstractContextManager[Any]:
    """Make the change, for as long as the context lasts if it can be undone."""
    return change(model) or nullcontext()


class Doubled(torch.autograd.Function):
    """The identity, with a backward pass that is not its derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 2 * grad


def with_hook(x: Tensor) -> Tensor:
    held = torch.relu(x)
    if held.requires_grad:
        held.register_hook(lambda grad: 2 * grad)
    return held.sum(1)


BACKWARD: dict[str, Callable[[Tensor], Tensor]] = {
    "autograd.Function": lambda x: torch.relu(Doubled.apply(x)).sum(1),
    "tensor hook": with_hook,
}
"""Functions whose graph is homogeneous, but whose gradient is not that of the graph."""


def configured() -> tuple[Callable[[Tensor], Tensor], types.SimpleNamespace]:
    """A closure over an object of the user's own."""
    config = types.SimpleNamespace(shift=0.0)
    return (lambda x: torch.relu(x + config.shift).sum(1)), config
