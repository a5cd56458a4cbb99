"""Facts about single tensors that the watch asks for, and the graph that autograd recorded behind them."""

import weakref
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from captum_xdnn._torch import (
    NODE_OF_CPP,
    SCRIPTED,
    DisableTorchDispatch,
    disabled_torch_dispatch,
    disabled_torch_function,
)
from captum_xdnn.recording.steps import Mixed, Ref, Source, info_of

_TENSORS = frozenset((Ref, Source, Mixed))
_of_tensors: Any = Tensor.__torch_function__
_PLAIN_FUNCTIONS = (_of_tensors.__func__, disabled_torch_function)


def is_bounded(tensor: Tensor) -> bool:
    """Whether a tensor is seen to have no infinite entry; of one that cannot be looked at, it is not."""
    with DisableTorchDispatch(), torch.no_grad():
        try:
            return not tensor.isinf().any()
        except Exception:  # whatever a class of tensors, a transform, a device without memory says
            return False


def has_own_functions(kind: Any) -> bool:
    """Whether a class of tensors says itself what torch's functions do with it."""
    own = getattr(kind.__torch_function__, "__func__", kind.__torch_function__)
    return own not in _PLAIN_FUNCTIONS


class Group(list[Ref]):
    """Tensors that share memory: the values that were written into it, in order.

    Attributes:
        origin: The tensor that the run did not compute and whose memory it is, if any.
        handed_out: Whether somebody outside of torch holds that memory.
    """

    __slots__ = ("handed_out", "origin")
    origin: Tensor | None
    handed_out: bool


class Entry(weakref.ref[Tensor]):
    """A tensor of the run, referred to weakly: its value, and what it shares its memory with.

    Attributes:
        token: The value.
        group: What it shares its memory with, if anything.
        seen: How many of that memory's writes the value includes.
        version: torch's count of its writes, where that is looked at; else -1.
        is_held: Whether the run did not compute it, and holds it.
    """

    __slots__ = ("group", "is_held", "seen", "token", "version")
    group: Group | None
    is_held: bool
    seen: int
    token: Ref
    version: int


def makes(signature: Any) -> bool:
    """Whether an operation makes a tensor from a form alone: memory that others may fill."""
    name = getattr(signature[0], "name", "").split(".")
    like = len(name) > 1 and (name[1].endswith("_like") or name[1].startswith("new_"))
    return like or not any(type(part) in _TENSORS for part in signature)


def without_values(tensor: Tensor) -> Tensor:
    """A tensor of the same form on the meta device."""
    if tensor.layout is not torch.strided:
        return tensor
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


def lies_in(tensor: Tensor, storage: int) -> bool:
    """Whether a tensor's memory is a storage."""
    return tensor.layout is torch.strided and tensor.untyped_storage()._cdata == storage


def is_hollow(tensor: Tensor) -> bool:
    """Whether a tensor's memory has been given back, as sharded weights' is after their layer ran."""
    if tensor.layout is not torch.strided or not tensor.numel():
        return False
    last = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    needed = (tensor.storage_offset() + last + 1) * tensor.element_size()
    return tensor.untyped_storage().nbytes() < needed


class Saved(NamedTuple):
    """A tensor as it was: a copy of what it held, its version, and another tensor that shows its memory."""

    tensor: Tensor
    content: Tensor
    version: int
    form: Tensor


def saved_of(tensor: Tensor) -> Saved:
    """A tensor as it is now."""
    form = tensor.detach()
    return Saved(tensor, form.clone(), version_of(tensor), form)


def is_shown_as(tensor: Tensor, form: Tensor) -> bool:
    """Whether a tensor still shows the memory that another one shows, in the same way."""
    if tensor.layout is not torch.strided or form.layout is not torch.strided:
        return tensor.shape == form.shape
    return tensor.data_ptr() == form.data_ptr() and (
        (tensor.shape, tensor.stride()) == (form.shape, form.stride())
    )


def is_foreign(kind: Any) -> bool:
    """Whether a class of tensors has operations of its own."""
    own = getattr(kind, "__torch_dispatch__", None)
    return own is not disabled_torch_dispatch


def tensors_of(result: Any) -> list[Tensor]:
    """The tensors among the results of an operation."""
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, tuple | list):
        return [part for part in result if isinstance(part, Tensor)]
    return []


def infos_of(result: Any) -> Any:
    """The forms of an operation's results."""
    if isinstance(result, Tensor):
        return info_of(result)
    if isinstance(result, tuple | list):
        return tuple(info_of(r) if isinstance(r, Tensor) else None for r in result)
    return None


def covers_its_storage(tensor: Tensor) -> bool:
    """Whether a tensor is its whole memory, entry by entry in order."""
    size = tensor.numel() * tensor.element_size()
    whole = tensor.storage_offset() == 0 and tensor.untyped_storage().nbytes() == size
    return bool(whole) and tensor.is_contiguous()


_OF_TORCH: set[type] = set()
"""Kinds of nodes that torch derived itself; as many as torch has, and no more."""


def nodes_behind(tensors: Iterable[Tensor], before: Iterable[Any] = ()) -> Iterator[Any]:
    """The nodes from which some tensors were computed, each once, as far as those that come before."""
    seen = set(before)
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


def version_of(tensor: Tensor) -> int:
    """How often a tensor has been written into; 0 where that is not counted."""
    return 0 if tensor.is_inference() else tensor._version
