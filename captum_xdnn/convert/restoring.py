"""A network that is changed, and put back as it was if that fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import nn


@contextmanager
def unchanged_on_error(model: nn.Module, *, values: bool) -> Iterator[None]:
    """Put a network back as it was if an exception leaves the block.

    Args:
        model: The network, whose modules, parameters, buffers, hooks, modes and attributes are
            noted. What an attribute refers to is not, except for dicts and sets.
        values: Whether the values of its parameters and buffers are put back, too; they are copied
            for that.
    """
    modules = [(module, type(module), dict(vars(module))) for module in model.modules()]
    held = [
        (value, value.copy())
        for _, _, attributes in modules
        for value in attributes.values()
        if isinstance(value, dict | set)
    ]
    tensors: list[Any] = list(chain(model.parameters(), model.buffers())) if values else []
    copies = [tensor.detach().clone() for tensor in tensors]
    try:
        yield
    except BaseException:
        for module, kind, attributes in modules:
            module.__class__ = kind
            vars(module).clear()
            vars(module).update(attributes)
        for value, before in held:
            # The same object, in another state: handles of hooks refer to it.
            value.clear()
            value.update(before)
        with torch.no_grad():
            for tensor, copy in zip(tensors, copies, strict=True):
                tensor.copy_(copy)
        raise
