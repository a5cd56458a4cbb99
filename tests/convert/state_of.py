"""Everything that a conversion must not change by the way."""

from __future__ import annotations

from typing import Any

from torch import nn


def state_of(network: nn.Module) -> list[Any]:
    """Objects, classes, modes, hooks, and the versions and flags of the tensors."""
    return [
        (
            path,
            id(module),
            type(module),
            module.training,
            {name: _frozen(value) for name, value in vars(module).items()},
        )
        for path, module in network.named_modules(remove_duplicate=False)
    ] + [
        (name, id(tensor), tensor.requires_grad, tensor.data_ptr(), tensor.tolist())
        for name, tensor in (*network.named_parameters(), *network.named_buffers())
    ]


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return [(name, id(held)) for name, held in value.items()]
    return sorted(map(str, value)) if isinstance(value, set) else id(value)
