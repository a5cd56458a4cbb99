"""Calls of torch that no operation shows: values that leave torch, gradients that are touched.

A value that Python or an extension reads can come back as a constant, so it must not move. Code that
takes hold of autograd's nodes acts on a gradient where no operation shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

if TYPE_CHECKING:
    from captum_xdnn.recording.watch import Tape

Event = Callable[["Tape", Any, tuple[Any, ...], dict[str, Any]], Any]

READ = "read"
"""A value leaves torch."""
MEASURED = "measured"
"""Python reads a shape that values have decided."""
REPLACED = "replaced"
"""A tensor's memory is exchanged, or written by Python."""

_READS = ("tolist", "__contains__", "__repr__", "__format__")
_MEMORY = (
    "numpy",
    "__array__",
    "__dlpack__",
    "data_ptr",
    "untyped_storage",
    "storage",
    "_typed_storage",
)
_REPLACES = ("apply_", "map_", "map2_")
_TOUCHES = ("register_hook", "register_post_accumulate_grad_hook")


def _read(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tape.note_event(READ, args[:1])
    return func(*args, **kwargs)


def _hand_out(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What is written there later, on either side, is seen on the other."""
    tape.note_event(READ, args[:1])
    if isinstance(args[0], Tensor):
        tape.hand_out(args[0])
    return func(*args, **kwargs)


def _measure(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A shape is read: that is a value, where values have decided it."""
    if tape.sized and id(args[0]) in tape.sized:
        tape.note_event(MEASURED, args[:1])
    return func(*args, **kwargs)


def _gather(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A tensor made of a list: the tensors in it are read as numbers."""
    given = [*args[-1:], *kwargs.values()]
    inside = [leaf for g in given if isinstance(g, list | tuple) for leaf in pytree.tree_leaves(g)]
    if any(isinstance(leaf, Tensor) for leaf in inside):
        tape.note_event(READ, inside)
    return func(*args, **kwargs)


def _replace(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tape.note_event(REPLACED, args)
    return func(*args, **kwargs)


def _touch(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tape.touches.append("a hook on a tensor, or code that takes hold of autograd's nodes")
    return func(*args, **kwargs)


def _differentiate(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """On a CPU autograd runs in this thread and is seen; elsewhere what it returns is not."""
    result = func(*args, **kwargs)
    tape.adopt(pytree.tree_leaves(result))
    if func is Tensor.backward:
        tape.note_event(REPLACED, args[:1])
    return result


def _recurrent(name: str) -> Event:
    packet = getattr(torch.ops.aten, name)

    def whole(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        packed = isinstance(args[1], Tensor) and isinstance(args[3], tuple | list)
        return tape.run_whole(packet.data if packed else packet.input, func, args, kwargs)

    return whole


def _pad(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Circular padding reads memory that it has written in part: run as the one operation it is."""
    given = dict(zip(("input", "pad", "mode", "value"), args, strict=False)) | kwargs
    if given.get("mode") != "circular":
        return func(*args, **kwargs)
    whole = lambda x, pad: func(x, pad, "circular")  # noqa: E731
    return tape.run_whole(
        torch.ops.aten._pad_circular.default, whole, (given["input"], given["pad"]), {}
    )


RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")


def _events() -> dict[Any, Event]:
    base: Any = torch._C.TensorBase
    events: dict[Any, Event] = {
        getattr(Tensor, name): _read for name in _READS if hasattr(Tensor, name)
    }
    events.update({getattr(Tensor, n): _hand_out for n in _MEMORY if hasattr(Tensor, n)})
    events.update({getattr(Tensor, name): _replace for name in _REPLACES})
    events[base.shape.__get__] = _measure
    sizes = (Tensor.size, Tensor.__len__, Tensor.numel, Tensor.nelement)
    events.update(dict.fromkeys(sizes, _measure))
    makers = (torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor)
    events.update(dict.fromkeys(makers, _gather))
    events.update({getattr(Tensor, name): _touch for name in _TOUCHES if hasattr(Tensor, name)})
    events[base.data.__set__] = _replace
    events[Tensor.__cuda_array_interface__.__get__] = _hand_out
    events[base.grad_fn.__get__] = _touch
    events[torch.autograd.grad] = events[Tensor.backward] = _differentiate
    events[torch.nn.functional.pad] = events[torch._C._nn.pad] = _pad
    for name in RECURRENT:
        events[getattr(torch._C._VariableFunctions, name)] = _recurrent(name)
    return events


EVENTS = _events()
"""What is noted of each function, method and property."""
