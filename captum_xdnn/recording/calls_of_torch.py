"""Calls of torch that no operation shows: values that leave torch, gradients that are touched.

A value that Python or an extension reads can come back as a constant, so it must not move. Code that
takes hold of autograd's nodes acts on a gradient where no operation shows it.
"""

import enum
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captum_xdnn._torch import (
    OPDEFS,
    PACKING,
    OpOverload,
    TensorBase,
    pad,
    python_kernels,
    pytree,
)
from captum_xdnn.recording.following import MAY_RUN_OTHERS, OF_TORCH, Functions
from captum_xdnn.recording.steps import BOUNDED, MEASURED, READ, REPLACED
from captum_xdnn.recording.tensors import custom_nodes_of, is_bounded
from captum_xdnn.recording.watch import Tape

Event = Callable[[Tape, Any, tuple[Any, ...], dict[str, Any]], Any]
"""Calls a function, or runs it otherwise, and notes that."""
Note = Callable[[Tape, list[Any]], None]
"""Notes a call, of which it is told what is given to the function."""


def _read(tape: Tape, given: list[Any]) -> None:
    tape.note_event(READ, given[:1])


def _hand_out(tape: Tape, given: list[Any]) -> None:
    """What is written there later, on either side, is seen on the other."""
    tape.note_event(READ, given[:1])
    if isinstance(given[0], Tensor):
        tape.hand_out(given[0])


def _measure(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A shape is read: that is a value, where values have decided it."""
    if tape.sized:
        measured = [*args, *kwargs.values()][:1]
        known = tape.sized.get(id(measured[0]))
        # Another tensor may have come to the address of one that is gone.
        if known is not None and known() is measured[0]:
            tape.note_event(MEASURED, measured)
    return func(*args, **kwargs) if kwargs else func(*args)


def _gather(tape: Tape, given: list[Any]) -> None:
    """A tensor made of lists: the tensors in them are read as numbers."""
    inside = [leaf for g in given if isinstance(g, list | tuple) for leaf in pytree.tree_leaves(g)]
    if any(isinstance(leaf, Tensor) for leaf in inside):
        tape.note_event(READ, inside)
    if has_strange(inside):
        tape.note_event(READ, tape.inputs)


def _index(tape: Tape, given: list[Any]) -> None:
    """An index that is an object of the user's is asked for its number by code of the user's."""
    parts = given[1] if isinstance(given[1], tuple | list) else given[1:2]
    slices = [p for p in parts if isinstance(p, slice)]
    inside = [*parts, *(end for s in slices for end in (s.start, s.stop, s.step))]
    if has_strange(pytree.tree_leaves(inside)):
        tape.note_event(READ, tape.inputs)


def _divide(tape: Tape, given: list[Any]) -> None:
    """Where to split, how long a sequence is, may be told by a tensor, which torch reads by pointer."""
    tape.note_event(READ, given[1:])


def _replace(tape: Tape, given: list[Any]) -> None:
    if isinstance(given[0], Tensor):
        tape.keep_content_of(given[0])
    tape.note_event(REPLACED, given)


def _touch(tape: Tape, _: list[Any]) -> None:
    tape.touches.append("a hook on a tensor, or code that takes hold of autograd's nodes")


def _noting(note: Note) -> Event:
    def event(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        note(tape, [*args, *kwargs.values()])
        return func(*args, **kwargs)

    return event


def _differentiate(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """On a CPU autograd runs in this thread and is seen; elsewhere what it returns is not."""
    explained = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    if tape.touches or any(custom_nodes_of(t) for t in explained):
        tape.note_event(READ, tape.inputs)  # the user's code runs there, in other threads even
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
    circular = torch.ops.aten._pad_circular.default
    return tape.run_whole(circular, whole, (given["input"], given["pad"]), {})


def _look(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What replaces infinite numbers is the identity where there are none: whether so, is seen here."""
    tensor = args[0] if args else kwargs.get("input", kwargs.get("self"))
    if isinstance(tensor, Tensor) and is_bounded(tensor):
        tape.note_event(BOUNDED, [tensor])
    return func(*args, **kwargs)


def _one_hot(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Torch reads whether each number is in the range that it is told; that shows only where one is not."""
    given = dict(zip(("tensor", "num_classes"), args, strict=False)) | kwargs
    if given.keys() != {"tensor", "num_classes"} or given["num_classes"] < 0:  # they are counted
        return func(*args, **kwargs)
    told = (given["tensor"], given["num_classes"])
    try:
        return tape.run_whole(torch.ops.aten.one_hot.default, func, told, {})
    except Exception:
        tape.note_event(READ, told[:1])
        raise


def _quantile(name: str) -> Event:
    packet = getattr(torch.ops.aten, name)

    def whole(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Under a mode torch finds it in another way, with another gradient where entries are equal."""
        kwargs = {"input" if n == "self" else n: value for n, value in kwargs.items()}
        given = dict(zip(("input", "q", "dim", "keepdim"), args, strict=False)) | kwargs
        interpolation, out = given.pop("interpolation", "linear"), given.pop("out", None)
        if out is not None or not {"input", "q"} <= given.keys() <= {
            "input",
            "q",
            "dim",
            "keepdim",
        }:
            return func(*args, **kwargs)
        told = (given["input"], given["q"], given.get("dim"), given.get("keepdim", False))
        overload = packet.default if isinstance(told[1], Tensor) else packet.scalar
        return tape.run_whole(overload, overload, told, {"interpolation": interpolation})

    return whole


def _unpack(tape: Tape, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """How long the sequences are, is read and written by pointer: run as the one operation it is."""
    tape.note_event(READ, [*args[1:], *kwargs.values()])
    return tape.run_whole(torch.ops.aten._pad_packed_sequence.default, func, args, kwargs)


_TORCH = str(Path(torch.__file__).parent)
_COMPOSED = ("CompositeImplicitAutograd",)
_AUTOGRAD = ("Autograd", "AutogradCPU", "AutogradCUDA")
RULED: set[str] = set()
"""Names of operators with a rule of the user's."""


def runs_others(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> bool:
    """Whether a function may run code that is not torch's: an argument's, or a kernel in Python."""
    given = (*args, *(kwargs or {}).values())
    if has_strange(given) or (type(func) is types.FunctionType and any(map(callable, given))):
        return True
    if type(func) not in MAY_RUN_OTHERS or func in OF_TORCH:
        return False
    if type(func) is types.FunctionType:
        codes = [getattr(f, "__code__", None) for f in (func, getattr(func, "__wrapped__", func))]
        if any(c is not None and not c.co_filename.startswith(_TORCH) for c in codes):
            return True
        OF_TORCH.add(func)
        return False
    packet = func.overloadpacket if type(func) is OpOverload else func
    name = packet._qualified_op_name
    if name.partition("::")[0] in ("aten", "prims", "torchvision") or name in RULED:
        return False
    kernels = (impl.rpartition("/") for impl in python_kernels)  # those written in Python
    mine = {key for op, _, key in kernels if op.partition(".")[0] == name.replace("::", "/")}
    return not mine.isdisjoint(_COMPOSED if name in OPDEFS else (*_COMPOSED, *_AUTOGRAD))


_KNOWN_KINDS: tuple[Any, ...] = (
    *(Tensor, int, float, complex, str, bytes, type(None), type(Ellipsis), tuple, list, dict),
    *(slice, type, enum.Enum, types.FunctionType, torch.dtype, torch.device, torch.layout),
    *(torch.memory_format, torch.Generator, torch.Stream, torch.nn.Module),
    torch.autograd.graph.GradientEdge,
)
_LIBRARIES = ("builtins", "numpy", "torch")


def has_strange(values: Iterable[Any]) -> bool:
    """Whether there is an object of a class of the user's, which may run code when it is asked for a number."""
    return any(
        not isinstance(v, _KNOWN_KINDS) and type(v).__module__.partition(".")[0] not in _LIBRARIES
        for v in values
    )


RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")
QUANTILES = ("quantile", "nanquantile")
"""The only operations of torch's that have another gradient under a mode (``tests/proof/test_ways_under_modes.py``)."""


def _events() -> dict[Any, Event]:
    split = torch.ops.aten.tensor_split
    splitting = (torch.tensor_split, Tensor.tensor_split, split, split.tensor_indices_or_sections)
    makers = (torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor)
    sparse = ("coo", "csr", "csc", "bsr", "bsc", "compressed")
    memory = ("numpy", "__array__", "__dlpack__", "data_ptr", "untyped_storage", "storage")
    noted: dict[Note, Iterable[Any]] = {
        _read: _methods("tolist", "__contains__", "__repr__", "__format__"),
        _hand_out: (
            *_methods(*memory, "_typed_storage"),
            Tensor.__cuda_array_interface__.__get__,
        ),
        _replace: (*_methods("apply_", "map_", "map2_"), TensorBase.data.__set__),
        _gather: (*makers, *(getattr(torch, f"sparse_{form}_tensor") for form in sparse)),
        _divide: (PACKING[0], *splitting),
        _index: (Tensor.__getitem__, Tensor.__setitem__),
        _touch: (
            *_methods("register_hook", "register_post_accumulate_grad_hook"),
            TensorBase.grad_fn.__get__,
        ),
    }
    events = {func: _noting(note) for note, functions in noted.items() for func in functions}
    shapes = (TensorBase.shape.__get__, *_methods("size", "__len__", "numel", "nelement"))
    events |= dict.fromkeys(shapes, _measure)
    events[torch.autograd.grad] = events[Tensor.backward] = _differentiate
    events[torch.nn.functional.pad] = events[pad] = _pad
    events[torch.nn.functional.one_hot], events[PACKING[1]] = _one_hot, _unpack
    replacing = (torch.nan_to_num, torch.nan_to_num_, *_methods("nan_to_num", "nan_to_num_"))
    events |= dict.fromkeys(replacing, _look)
    for name in QUANTILES:
        packet = getattr(torch.ops.aten, name)
        ways = (getattr(torch, name), getattr(Tensor, name), packet, packet.default, packet.scalar)
        events |= dict.fromkeys(ways, _quantile(name))
    return events | {getattr(torch, name): _recurrent(name) for name in RECURRENT}


def _methods(*names: str) -> list[Any]:
    return [getattr(Tensor, name) for name in names]


EVENTS = _events()
"""What is noted of each function, method and property."""


class Calls(Functions):
    """Shows a tape the calls of torch's functions that no operation shows."""

    events = EVENTS
    runs_others = staticmethod(runs_others)
