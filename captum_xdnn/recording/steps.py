"""The steps of runs, and the runs that were seen: trees of steps, as runs that begin alike share them.

A step says which operation ran, on which earlier results or sources, with which literals, and what
came of it: shapes, strides, dtypes and devices, never a tensor or a module, so there is nothing in it
to go stale. The table of trees is bounded, and shared by all functions, threads and explainers.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor

from captum_xdnn.recording.operations import Operation
from captum_xdnn.recording.threads import lock

READ = "read"
"""A value leaves torch: of these kinds are the steps that are no operations."""
RAISED = "raised"
"""An operation raises, whatever the values are."""
MEASURED = "measured"
"""Python reads a shape that values have decided."""
REPLACED = "replaced"
"""A tensor's memory is exchanged, or written by Python."""
BOUNDED = "bounded"
"""No entry of a tensor is infinite in this run: looked at where an operation treats those otherwise."""

UNSEEN = "it was computed where it cannot be watched (another thread, an extension)"
"""A flaw of a tensor: that nothing can be known of it. So is the next one."""
OPAQUE = "a tensor of a class with operations of its own"


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


LITERALS = frozenset(
    (
        *(int, bool, type(None), str, complex),
        *(torch.dtype, torch.device, torch.layout, torch.memory_format),
    )
)


class Real(NamedTuple):
    """A float that is a whole number, told from the integer that equals it."""

    hexadecimal: str


class Opaque(NamedTuple):
    """An object that is no tensor and no literal."""

    kind: str


class Mixed(NamedTuple):
    """A tensor whose memory was written through others since it was seen last."""

    before: Ref
    writes: tuple[Ref, ...]


class Tail(NamedTuple):
    """What ends the signature of an operation: its keyword arguments, and how it was called.

    Attributes:
        graded: Whether gradients were recorded.
        foreign: Whether a tensor of a class with operations of its own took part.
        extra: Shapes that values decided; for what reads by storage, whether it reads a tensor's own.
    """

    named: tuple[tuple[str, Any], ...]
    graded: bool
    foreign: bool = False
    extra: Any = ()

    def extends(self) -> bool:
        """Whether more than its arguments, those by name literals, decides what the operation does."""
        literal = all(type(value) in LITERALS for _, value in self.named)
        return not literal or self.foreign or self.extra != ()


@dataclass(frozen=True)
class TensorInfo:
    """The form of a tensor, without its values; a layout may have no strides."""

    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    dtype: torch.dtype
    device: torch.device

    def dim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def numel(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

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


def forms_in(results: Any) -> list[TensorInfo]:
    """The forms of the tensors among the results of a step."""
    parts = results if isinstance(results, tuple) else (results,)
    return [part for part in parts if isinstance(part, TensorInfo)]


def sized_in(results: Any) -> list[TensorInfo]:
    """Those whose lengths are all numbers: one of a nested tensor is a symbol, and counts for nothing in a cost."""
    return [form for form in forms_in(results) if all(type(n) is int for n in form.shape)]


class Source(NamedTuple):
    """A tensor that the run did not compute, where it is used first."""

    info: TensorInfo
    flaw: str


def _decoded(part: Any) -> Any:
    """A whole number as the float that it is; zero, which has two signs, stays apart. Lengths as a list, as torch gives them."""
    if type(part) is tuple and part and all(type(number) is int for number in part):
        return list(part)
    if type(part) is not Real:
        return part
    return float.fromhex(part.hexadecimal) or part


def _tensors_in(part: Any) -> int:
    """How long a list with tensors is; 0 of what is none."""
    return len(part) if type(part) is tuple and any(type(p) in (Ref, Source) for p in part) else 0


class Step:
    """One operation of a run, and the steps that were seen to follow it.

    Attributes:
        signature: Operation, arguments, and a ``Tail``.
        results: The forms of its results: one, a tuple of them, None for no tensor.
        verdicts: What was proved of runs that end here.
        size: Of a tree's root, how many steps are counted for it.
        first: The step that was seen to follow first; ``others`` are the later ones, by signature.
        given: The arguments by position, as in the signature.
        run: Runs the overload.
        overload: The overload, where nothing but tensors and literals by position (``wanted``), and literals by name
            (``named``), decides what it does, and it does nothing beside returning results, or writing its first
            argument; else None.
        lengths: Where there are lists of tensors among the arguments, how long each is, 0 for others; ``wanted`` holds
            the tensors in their place.
    """

    def __init__(self, signature: Any, results: Any) -> None:
        self.signature = signature
        self.results = results
        self.verdicts: tuple[Any, ...] = ()
        self.size = 0
        self.first: Step | None = None
        self.others: dict[Any, Step] = {}
        self.overload: Any = None
        self.run: Any = None
        self.given: tuple[Any, ...] = ()
        self.wanted: tuple[Any, ...] = ()
        self.lengths: tuple[int, ...] = ()
        self.named: dict[str, Any] = {}
        self.is_graded = self.shows = self.writes = False
        operation = None if signature is None else signature[0]
        if (
            isinstance(operation, Operation)
            and operation.is_usual_with(signature[1:-1])
            and not signature[-1].extends()
        ):
            self.overload, self.run = operation.overload, operation.overload._op
            self.named = dict(signature[-1].named)
            self.given = signature[1:-1]
            self.wanted = tuple(map(_decoded, self.given))
            self.is_graded = signature[-1].graded
            self.shows, self.writes = operation.shows, operation.is_in_place
            lengths = tuple(map(_tensors_in, self.given))
            if any(lengths) and not (self.shows or self.writes):
                self.lengths = lengths
                parts = zip(self.wanted, lengths, strict=True)
                self.wanted = tuple(chain.from_iterable(p if n else (p,) for p, n in parts))

    def append(self, signature: Any, results: Any) -> Step:
        """Note a step that follows this one."""
        step = Step(signature, results)
        if self.first is None:
            self.first = step
        else:
            self.others[signature] = step
        return step

    def taken_apart(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, with the tensors of lists for the lists; none where those are of other lengths."""
        if len(args) != len(self.lengths):
            return ()
        found: list[Any] = []
        for value, length in zip(args, self.lengths, strict=True):
            if not length:
                found.append(value)
            elif type(value) is list and len(value) == length:
                found += value
            else:
                return ()
        return tuple(found)

    @property
    def op(self) -> Any:
        """What ran."""
        return self.signature[0]


MOST_STEPS = 3072
"""So many steps are kept, those of graphs counted as well; a longer run is kept alone."""

_LOCK = lock()
_ROOTS: OrderedDict[Hashable, Step] = OrderedDict()
"""For each form of the inputs the tree of runs that begin with it, the least recently used first."""
_edition = 0


def root_of(key: Hashable, edition: int) -> Step:
    """The tree of the runs that begin with these inputs; another edition of the rules forgets all."""
    global _edition
    with _LOCK:
        if edition != _edition:
            _ROOTS.clear()
            _edition = edition
        root = _ROOTS.get(key)
        if root is None:
            root = _ROOTS[key] = Step(None, None)
        _ROOTS.move_to_end(key)
        return root


def settle(key: Hashable, grown: int) -> None:
    """Account for new steps in a tree, and forget the trees that were not used for longest."""
    with _LOCK:
        root = _ROOTS.get(key)
        if root is None:
            return
        alone = root.size == 0
        root.size += grown
        total = sum(each.size for each in _ROOTS.values())
        while total > MOST_STEPS and len(_ROOTS) > 1:
            total -= _ROOTS.popitem(last=False)[1].size
        if total > MOST_STEPS and not alone:
            _ROOTS.clear()


def forget() -> None:
    """Forget all runs."""
    with _LOCK:
        _ROOTS.clear()
