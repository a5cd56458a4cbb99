"""The steps of runs, kept as a tree: runs that begin alike share what they have in common.

A step says which operation ran, on which earlier results or sources, with which literals, and what
came of it: shapes, strides, dtypes and devices, never a tensor or a module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from captum_xdnn.recording.operations import Operation

READ = "read"
"""A value leaves torch: of these kinds are the steps that are no operations."""
RAISED = "raised"
"""An operation raises, whatever the values are."""
MEASURED = "measured"
"""Python reads a shape that values have decided."""
REPLACED = "replaced"
"""A tensor's memory is exchanged, or written by Python."""


class Ref:
    """The number of a value of a run, in the order in which the values appear."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"%{self.number}"


class _Refs(dict[int, Ref]):
    def __missing__(self, number: int) -> Ref:
        return self.setdefault(number, Ref(number))


REF = _Refs()
"""The one object that stands for a number: comparing runs is comparing identities."""


class Real(NamedTuple):
    """A float that is a whole number, told from the integer that equals it."""

    hexadecimal: str


class Opaque(NamedTuple):
    """An object that is no tensor and no literal."""

    kind: str


class Source(NamedTuple):
    """A tensor that the run did not compute, where it is used first."""

    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    dtype: torch.dtype
    device: torch.device
    flaw: str


class Mixed(NamedTuple):
    """A tensor whose memory was written through others since it was seen last."""

    before: Ref
    writes: tuple[Ref, ...]


class Tail(NamedTuple):
    """What ends the signature of an operation.

    Attributes:
        named: The keyword arguments.
        graded: Whether gradients were recorded.
        foreign: Whether a tensor of a class with operations of its own took part.
        extra: Shapes that values decided; for what reads by storage, whether it reads a tensor's own.
    """

    named: tuple[tuple[str, Any], ...]
    graded: bool
    foreign: bool = False
    extra: Any = ()

    def extends(self) -> bool:
        """Whether more than the arguments by position decides what the operation does."""
        return bool(self.named) or self.foreign or self.extra != ()


@dataclass(frozen=True)
class TensorInfo:
    """The form of a tensor, without its values.

    Attributes:
        shape: Its shape.
        strides: Its strides; None for a layout that has none.
        dtype: Its dtype.
        device: Its device.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    dtype: torch.dtype
    device: torch.device

    def dim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def numel(self) -> int:
        """Number of entries."""
        count = 1
        for length in self.shape:
            count *= length
        return count

    def is_floating_point(self) -> bool:
        """Whether the entries are real numbers."""
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether the entries are complex numbers."""
        return self.dtype.is_complex

    def element_size(self) -> int:
        """Bytes of an entry."""
        return self.dtype.itemsize


def info_of(tensor: Tensor) -> TensorInfo:
    """The form of a tensor."""
    return TensorInfo(tensor.shape, strides_of(tensor), tensor.dtype, tensor.device)


def strides_of(tensor: Tensor) -> tuple[int, ...] | None:
    """The strides of a tensor; None for a layout that has none."""
    return tensor.stride() if tensor.layout is torch.strided else None


def _decoded(part: Any) -> Any:
    """A whole number as the float that it is; zero, which has two signs, stays apart."""
    if type(part) is not Real:
        return part
    return float.fromhex(part.hexadecimal) or part


class Step:
    """One operation of a run, and the steps that were seen to follow it.

    Attributes:
        signature: Operation, arguments, keyword arguments, whether gradients were recorded.
        results: The forms of its results: one, a tuple of them, None for no tensor.
        verdicts: What was proved of runs that end here.
        first: The step that was seen to follow first; None before any was.
        overload: The overload, where nothing but tensors and literals by position decides what it
            does, and it does nothing beside returning results, or writing its first argument; else
            None.
        wanted: The arguments of that overload.
        is_graded: Whether gradients were recorded.
        shows: Whether its results share the memory of its first argument.
        writes: Whether it writes its first argument.
    """

    __slots__ = (
        "_others",
        "first",
        "is_graded",
        "overload",
        "results",
        "shows",
        "signature",
        "verdicts",
        "wanted",
        "writes",
    )

    def __init__(self, signature: Any, results: Any) -> None:
        self.signature = signature
        self.results = results
        self.verdicts: tuple[Any, ...] = ()
        self.first: Step | None = None
        self._others: dict[Any, Step] | None = None
        self.overload: Any = None
        self.wanted: tuple[Any, ...] = ()
        self.is_graded = self.shows = self.writes = False
        operation = None if signature is None else signature[0]
        if isinstance(operation, Operation) and operation.is_usual and not signature[-1].extends():
            self.overload = operation.overload
            self.wanted = tuple([_decoded(part) for part in signature[1:-1]])
            self.is_graded = signature[-1].graded
            self.shows, self.writes = operation.shows, operation.is_in_place

    def following(self, signature: Any) -> Step | None:
        """The step with this signature that was seen to follow; None if none was."""
        first = self.first
        if first is None:
            return None
        if first.signature == signature:
            return first
        return None if self._others is None else self._others.get(signature)

    def append(self, signature: Any, results: Any) -> Step:
        """Note a step that follows this one."""
        step = Step(signature, results)
        if self.first is None:
            self.first = step
        else:
            if self._others is None:
                self._others = {}
            self._others[signature] = step
        return step

    @property
    def op(self) -> Any:
        """What ran."""
        return self.signature[0]
