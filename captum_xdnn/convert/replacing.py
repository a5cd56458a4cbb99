"""Putting other modules in the places of a network's modules."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_is_full_backward_hook",
)
"""What a new module takes over; hooks of state dicts belong to parameters that it has not."""


def replace(model: nn.Module, exchange: Callable[[nn.Module], nn.Module | None]) -> nn.Module:
    """Exchange modules everywhere in a network; one that stands in two places stays one.

    A new module has the forward and backward hooks and the mode of the one whose place it takes.

    Args:
        model: The network; it is changed in place, unless it is exchanged itself.
        exchange: Gives the new module for an old one, or None to leave it.

    Returns:
        The network, or the module that it is exchanged for.
    """
    new: dict[nn.Module, nn.Module] = {}
    for old in list(model.modules()):
        made = exchange(old)
        if made is not None:
            made.train(old.training)
            vars(made).update({name: hooks for name in HOOKS if (hooks := vars(old).get(name))})
            new[old] = made
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child is not None and child in new:
                parent._modules[name] = new[child]
    return new.get(model, model)
