"""The values of a run, numbered as they appear: which tensor holds which, and the steps so far.

What is done for each operation is on the way of every attribution, so it is a few dictionary
look-ups and one comparison with the step that was seen to follow (see ``known_runs.py``). No result
is kept alive: tensors are referred to weakly, and what the run did not compute for its duration.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from captum_xdnn._torch import DisableTorchFunction, top_hooks
from captum_xdnn.recording.autograd_graph import leads_to
from captum_xdnn.recording.places import Place, here
from captum_xdnn.recording.steps import REPLACED, Mixed, Opaque, Real, Source, Step, ref, strides_of
from captum_xdnn.recording.tensors import (
    Entry,
    Group,
    infos_of,
    is_foreign,
    lies_in,
    makes,
)

LITERALS = frozenset(
    (
        int,
        bool,
        type(None),
        str,
        torch.dtype,
        torch.device,
        torch.layout,
        torch.memory_format,
        complex,
    )
)
_COMPARED = LITERALS | {float}
_SEVERAL = frozenset((tuple, list))
_OWN = frozenset((Tensor, Parameter))
UNSEEN = "it was computed where it cannot be watched (another thread, an extension)"
OPAQUE = "a tensor of a class with operations of its own"


class Values:
    """The values and the steps of one run.

    Args:
        root: The tree of the runs that begin as this one does.
        inputs: The tensors that move.
        keep: Numbers of the values to hold on to.
        placed: Whether to note the source line and the module of every step.

    Attributes:
        inputs: The tensors that move.
        path: The steps.
        grown: How many of them were not known.
        sources: By number, the tensors that the run did not compute.
        kept: By number, the values that were asked for, each with its place in autograd's graph if
            the tensor was written into later.
        places: The place of each step, where it was noted.
        written: Numbers of the sources and inputs that the run wrote into.
    """

    def __init__(
        self,
        root: Step,
        inputs: Iterable[Tensor],
        keep: frozenset[int] = frozenset(),
        *,
        placed: bool = True,
    ) -> None:
        self.path: list[Step] = []
        self.grown = 0
        self.sources: dict[int, Tensor] = {}
        self.kept: dict[int, tuple[Tensor, Any]] = {}
        self.places: list[Place | None] = []
        self.written: set[int] = set()
        self._keep, self._placed = keep, placed
        self._written_memory: set[int] = set()
        self._versions: dict[int, tuple[Tensor, int]] = {}
        self._step = root
        self._entries: dict[int, Entry] = {}
        self._count = 0
        self.inputs = tuple(inputs)
        for tensor in self.inputs:
            self._enter(tensor).is_held = True

    def number_of(self, tensor: Tensor) -> int | None:
        """The number of the value that the run gave a tensor last; None for what it did not compute."""
        entry = self._entries.get(id(tensor))
        if entry is None or entry.is_held or entry() is not tensor:
            return None
        return entry.token.number

    def last_number_of(self, tensor: Tensor) -> int:
        """The number of a tensor's value at the end of the run, whoever made the tensor."""
        return self._entries[id(tensor)].token.number

    def survivors(self) -> Iterator[tuple[Any, int]]:
        """Weak references to the results that somebody keeps, with their numbers."""
        for entry in self._entries.values():
            tensor = None if entry.is_held else entry()
            if tensor is not None:
                yield weakref.ref(tensor), entry.token.number

    def is_placed(self) -> bool:
        """Whether the place of every step was noted."""
        return self._placed

    def note_event(self, name: str, tensors: Iterable[Any]) -> None:
        """Note something that is no operation: a value that leaves torch."""
        given = tuple([self._encoded(t) for t in tensors if isinstance(t, Tensor)])
        self._note((name, given), None, None)

    def _is_next(self, step: Step, args: tuple[Any, ...]) -> bool:
        """Whether a step that was seen to follow is what follows now; its new sources are entered."""
        if (
            len(args) != len(step.wanted)
            or torch.is_grad_enabled() is not step.is_graded
            or (step.is_graded and top_hooks(False) is not None)
            or (step.writes and not self._is_lone(args[0]))
        ):
            return False
        find = self._entries.get
        fresh: tuple[Tensor, ...] = ()
        for value, want in zip(args, step.wanted, strict=True):
            entry = find(id(value))
            if entry is not None:
                group = entry.group
                if (
                    entry.token is not want
                    or entry() is not value
                    or entry.version >= 0
                    or (group is not None and entry.seen != len(group.writes))
                ):
                    return False
            elif type(want) is Source:
                if not self._is_source(value, want):
                    return False
                fresh = (*fresh, value)
            elif value is not want and (
                type(value) is not type(want) or type(value) not in _COMPARED or value != want
            ):
                return False
        for tensor in fresh:
            self._enter_source(tensor)
        return True

    def _is_lone(self, tensor: Any) -> bool:
        """Whether writing into a tensor changes that tensor alone, and nothing that is kept."""
        entry = self._entries.get(id(tensor))
        return entry is not None and not (entry.is_held or entry.group or self.kept)

    def _note(self, signature: Any, result: Any, group: Group | None) -> int:
        """Follow or add a step, and enter its results; gives the number of the first of them."""
        step = self._step.following(signature)
        if step is None:
            step = self._step.append(signature, infos_of(result))
            self.grown += 1
        first = self._count
        self._advance(step, result, group)
        return first

    def _advance(self, step: Step, result: Any, group: Group | None) -> None:
        """Go to the next step, and enter its results."""
        self._step = step
        self.path.append(step)
        if self._placed:
            self.places.append(here())
        for tensor in result if type(result) in _SEVERAL else (result,):
            if isinstance(tensor, Tensor):
                count = self._count
                if count in self._keep:
                    self.kept[count] = (tensor, None)
                entry = self._entries.get(id(tensor))
                if entry is None or entry() is not tensor:
                    entry = self._enter(tensor, group)
                    if self._placed and makes(step.signature) and not tensor.is_inference():
                        entry.version = tensor._version
                else:  # written in place, or given back as it is
                    entry.token = ref(count)
                    entry.seen = 0 if entry.group is None else len(entry.group.writes)
                    self._count = count + 1

    def _enter(self, tensor: Tensor, group: Group | None = None) -> Entry:
        """Enter a tensor under the next number."""
        entry = self._entries[id(tensor)] = Entry(tensor)
        entry.token, entry.group = ref(self._count), group
        entry.seen = 0 if group is None else len(group.writes)
        entry.version, entry.is_held = -1, False
        self._count += 1
        return entry

    def _enter_source(self, tensor: Tensor) -> None:
        """Enter a tensor that the run did not compute."""
        if self._placed and not tensor.is_inference():
            self._versions[self._count] = (tensor, tensor._version)
        self.sources[self._count] = tensor
        self._enter(tensor).is_held = True

    def _encoded(self, value: Any) -> Any:
        kind = type(value)
        if kind in LITERALS:
            return value
        if kind is float:
            return Real(value.hex()) if value.is_integer() else value
        if isinstance(value, Tensor):
            return self._encoded_tensor(value)
        if isinstance(value, tuple | list):
            return tuple([self._encoded(part) for part in value])
        if isinstance(value, int | float | str):
            return value
        return Opaque(kind.__name__)

    def _encoded_tensor(self, tensor: Tensor) -> Any:
        entry = self._entries.get(id(tensor))
        if entry is None or entry() is not tensor:
            return self._source(tensor)
        if entry.version >= 0 and not tensor.is_inference():
            self._look_at_version(tensor, entry)
        group = entry.group
        if group is not None and entry.seen != len(group.writes):
            mixed = Mixed(entry.token, tuple(group.writes[entry.seen :]))
            entry.token, entry.seen = ref(self._count), len(group.writes)
            if self._count in self._keep:
                self.kept[self._count] = (tensor, None)
            self._count += 1
            return mixed
        return entry.token

    def _look_at_version(self, tensor: Tensor, entry: Entry) -> None:
        """Whether somebody wrote into a tensor of the run whom nobody saw: torch counts writes."""
        version, group = tensor._version, entry.group
        seen = group is None or entry.seen == len(group.writes)
        if entry.version != version and seen:
            self.note_event(REPLACED, (tensor,))
        entry.version = version

    def close(self) -> None:
        """At the end of a run: whether somebody wrote into a tensor that the run took, unseen."""
        for number, (tensor, version) in self._versions.items():
            entry = self._entries[id(tensor)]
            untouched = number not in self.written and entry.token.number == number
            if untouched and tensor._version != version:
                self.note_event(REPLACED, (tensor,))

    def written_since(self, earlier: Values) -> bool:
        """Whether a tensor that both runs took was written into between them, unseen by either."""
        known = {id(t): (n, version) for n, (t, version) in earlier._versions.items()}
        for tensor, version in self._versions.values():
            number, before = known.get(id(tensor), (-1, version))
            if version != before and number not in earlier.written:
                return True
        return False

    def _source(self, tensor: Tensor) -> Source:
        flaw = ""
        if type(tensor) not in _OWN:
            flaw = OPAQUE if is_foreign(type(tensor)) else ""
        with DisableTorchFunction():
            connected = tensor.requires_grad and tensor.grad_fn is not None
            if connected and leads_to(tensor, self.inputs):
                flaw = UNSEEN
            if self._written_memory and any(lies_in(tensor, s) for s in self._written_memory):
                flaw = UNSEEN
            known = Source(tensor.shape, strides_of(tensor), tensor.dtype, tensor.device, flaw)
        self._enter_source(tensor)
        return known

    def _is_source(self, tensor: Any, known: Source) -> bool:
        """Whether a value is a tensor of a known form that the run did not compute."""
        if type(tensor) not in _OWN or self._written_memory or known.flaw:
            return False
        with DisableTorchFunction():
            return (
                tensor.layout is torch.strided
                and tensor.shape == known.shape
                and tensor.stride() == known.strides
                and tensor.dtype is known.dtype
                and tensor.device == known.device
                and (not tensor.requires_grad or tensor.grad_fn is None)
            )

    def _group_of(self, tensor: Tensor) -> Group | None:
        entry = self._entries.get(id(tensor))
        if entry is None:
            return None
        if entry.group is None:
            entry.group = Group(tensor if entry.is_held else None)
        return entry.group
