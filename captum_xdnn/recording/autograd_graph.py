"""The graph that autograd recorded behind a tensor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from captum_xdnn._torch import NODE_OF_CPP, SCRIPTED

_OF_TORCH: set[type] = set()
"""Kinds of nodes that torch derived itself; as many as torch has, and no more."""


def nodes_behind(tensors: Iterable[Tensor]) -> Iterator[Any]:
    """The nodes from which some tensors were computed, each once."""
    seen: set[Any] = set()
    stack: list[Any] = [tensor.grad_fn for tensor in tensors]
    while stack:
        node = stack.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            stack += [following for following, _ in node.next_functions]


def custom_nodes_of(output: Tensor) -> list[str]:
    """The nodes that torch did not derive itself: names of custom functions, "" for TorchScript's."""
    found: list[str] = []
    for node in nodes_behind((output,)):
        kind = type(node)
        if kind in _OF_TORCH:
            continue
        if issubclass(kind, torch.autograd.function.BackwardCFunction):
            found.append(kind.__name__.removesuffix("Backward"))
        elif kind.__name__ != NODE_OF_CPP:
            _OF_TORCH.add(kind)
        elif SCRIPTED in node.name():
            found.append("")
    return found


def leads_to(tensor: Tensor, inputs: tuple[Tensor, ...]) -> bool:
    """Whether autograd's graph of a tensor reaches one of the inputs."""
    ends = {x.grad_fn for x in inputs if x.grad_fn is not None}
    return any(
        node in ends or any(x is getattr(node, "variable", None) for x in inputs)
        for node in nodes_behind((tensor,))
    )
