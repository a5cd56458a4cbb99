"""The values of a run, numbered as they appear, in the form in which steps name them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from captum_xdnn._torch import DisableTorchFunction
from captum_xdnn.recording.following import OWN, Following
from captum_xdnn.recording.steps import (
    LITERALS,
    OPAQUE,
    REF,
    REPLACED,
    UNSEEN,
    Mixed,
    Opaque,
    Real,
    Source,
    info_of,
)
from captum_xdnn.recording.tensors import Group, infos_of, is_foreign, leads_to, lies_in


class Values(Following):  # type: ignore[no-untyped-call]
    """The values of one run, and what is noted of them."""

    _failed: Any = None
    """The operation that raised last, if nothing was noted since."""
    _note_what_failed: Callable[[], None]

    def number_of(self, tensor: Tensor) -> int | None:
        """The number of the value that the run gave a tensor last; None for what it did not compute."""
        entry = self._entries.get(id(tensor))
        if entry is None or entry.is_held or entry() is not tensor:
            return None
        return entry.token.number

    def is_placed(self) -> bool:
        """Whether the place of every step was noted."""
        return self._placed

    def note_event(self, name: str, tensors: Iterable[Any]) -> None:
        """Note something that is no operation: a value that leaves torch."""
        given = tuple([self._encoded(t) for t in tensors if isinstance(t, Tensor)])
        self._note((name, given), None, None)

    def _note(self, signature: Any, result: Any, group: Group | None) -> int:
        """Follow or add a step, and enter its results; gives the number of the first of them."""
        if self._failed is not None:
            self._note_what_failed()
        last = self._step
        step = last.first
        if step is not None and step.signature != signature:
            step = last.others.get(signature)
        if step is None:
            step = last.append(signature, infos_of(result))
            self.grown += 1
        first = self._count
        self._advance(step, result, group)
        return first

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
        group = entry.group
        behind = group is not None and entry.seen != len(group)
        if entry.version >= 0 and not tensor.is_inference():
            before, entry.version = entry.version, tensor._version
            if before != entry.version and not behind:  # somebody wrote into it whom nobody saw
                self.note_event(REPLACED, (tensor,))
        if group is not None and behind:
            mixed = Mixed(entry.token, tuple(group[entry.seen :]))
            entry.token, entry.seen = REF[self._count], len(group)
            if self._count in self._keep:
                self.kept[self._count] = (tensor, None)
            self._count += 1
            return mixed
        return entry.token

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
        if type(tensor) not in OWN:
            flaw = OPAQUE if is_foreign(type(tensor)) else ""
        with DisableTorchFunction():
            connected = tensor.requires_grad and tensor.grad_fn is not None
            if connected and leads_to(tensor, self.inputs):
                flaw = UNSEEN
            if self._written_memory and any(lies_in(tensor, s) for s in self._written_memory):
                flaw = UNSEEN
            known = Source(info_of(tensor), flaw)
        self._take_source(tensor)
        return known
