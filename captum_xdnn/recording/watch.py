"""The watch: a run of the user's function, operation by operation, as torch dispatches them."""

import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from captum_xdnn._torch import (
    DisableTorchDispatch,
    DisableTorchFunction,
    HigherOrderOperator,
    current_dispatch_mode,
    is_wrapped,
    pytree,
    top_hooks,
)
from captum_xdnn.recording.compiling import BesideCompiler
from captum_xdnn.recording.following import watched
from captum_xdnn.recording.operations import Operation, operation_of
from captum_xdnn.recording.places import here
from captum_xdnn.recording.random_state import Dice
from captum_xdnn.recording.steps import RAISED, READ, REF, REPLACED, UNSEEN, Ref, Step, Tail
from captum_xdnn.recording.tensors import (
    covers_its_storage,
    is_foreign,
    is_hollow,
    lies_in,
    saved_of,
    tensors_of,
    without_values,
)
from captum_xdnn.recording.values import Values

LARGEST_KEPT = 2**26
"""Bytes of a tensor of which a copy is kept because code outside of torch got hold of its memory."""


class Stopped(BaseException):
    """Ends a run that must not go on; no exception that a function would handle."""


class Tape(Values):  # type: ignore[no-untyped-call]
    """What is noted of one run, and how operations run that were not seen to follow."""

    def _run_new(self, overload: Any, types: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        self._given = ()  # nothing of this operation is numbered yet
        if isinstance(overload, HigherOrderOperator):
            return self._run_unseen(overload, args, kwargs)
        operation = operation_of(overload)
        if operation.is_collective and torch.distributed.is_initialized():
            self._stop_before(operation, pytree.tree_leaves((args, kwargs)))
        encoded = [self._encoded(value) for value in args]
        self._given = encoded
        graded = torch.is_grad_enabled()
        if graded and (hooks := top_hooks(False)) is not None and hooks[0] is not self._saving:
            self.touches.append("hooks on saved tensors")
        named = tuple([(name, self._encoded(kwargs[name])) for name in kwargs])
        self._given = [*encoded, *(value for _, value in named)]
        tail = Tail(named, graded, any(map(is_foreign, types)))
        return self._run_with_effects(operation, encoded, tail, args, kwargs)

    def _stop_before(self, operation: Operation, given: list[Any]) -> None:
        """End the run: other processes wait for as many operations as Captum's passes have.

        DistributedDataParallel agrees on its buckets (int32) once, in whatever pass comes first.
        """
        exchanged = [t for t in given if isinstance(t, Tensor)]
        buckets = bool(exchanged) and all(t.dtype is torch.int32 for t in exchanged)
        if torch.distributed.get_world_size() > 1 and not buckets:
            self.stopped = Stopped(f"{operation} talks to other processes")
            raise self.stopped

    def _note_failure(self, overload: Any, args: tuple[Any, ...], kwargs: Any) -> None:
        """Keep that an operation has raised, should the function go on: most end there."""
        if self._failed is not None:
            self._note_what_failed()
        forms = pytree.tree_map_only(Tensor, without_values, (args, kwargs))
        place = here(watched.__code__) if self._placed else None
        self._failed = (self._step, overload, forms, tuple(self._given), place)
        self._step = Step(None, None)  # which nothing is known to follow

    def _note_what_failed(self) -> None:
        """The function goes on: that tells of the operation's values, unless their forms alone say so."""
        self._step, overload, forms, given, place = self._failed
        self._failed = None
        kind = READ
        whole = isinstance(overload, HigherOrderOperator)
        operation = None if whole else operation_of(overload)
        if operation is not None and not (operation.reads or operation.sized_by_values):
            try:
                with DisableTorchDispatch():
                    overload(*forms[0], **forms[1])
            except NotImplementedError:
                pass  # there is no way to tell
            except Exception:
                kind = RAISED
        self._note((kind, given), None, None)
        if self._placed:
            self.places[-1] = place

    def _run_unseen(self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator that takes functions (``cond``, ``while_loop``): what they do is not seen."""
        self.note_event(READ, pytree.tree_leaves((args, kwargs)))
        result = operator(*args, **kwargs)
        self.adopt(pytree.tree_leaves(result))
        return result

    def run_whole(self, overload: Any, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run a function of torch as the one operation that it is, whatever it is made of.

        Inside of ``torch.vmap`` that cannot be noted.
        """
        if any(isinstance(t, Tensor) and is_wrapped(t) for t in pytree.tree_leaves((args, kwargs))):
            self.note_event(READ, self.inputs)
            return function(*args, **kwargs)
        with DisableTorchDispatch():  # the watch's own looks are no operations of the run
            self._given = ()
            encoded = [self._encoded(value) for value in args]
            named = tuple([(name, self._encoded(kwargs[name])) for name in kwargs])
            self._given = [*encoded, *(value for _, value in named)]
            self._save_random_state(kwargs)
            try:
                result = function(*args, **kwargs)
            except Exception:
                self._note_failure(overload, args, kwargs)
                raise
            self._follow_random_state()
            tail = Tail(named, torch.is_grad_enabled())
            self._note((operation_of(overload), *encoded, tail), result, None)
        return result

    def adopt(self, tensors: Iterable[Any]) -> None:
        """Take note of tensors that nothing seen has computed."""
        fresh = [t for t in tensors if isinstance(t, Tensor) and id(t) not in self._entries]
        if fresh:
            self._note((UNSEEN, len(fresh)), fresh, None)

    def hand_out(self, tensor: Tensor) -> None:
        """Note that somebody outside of torch gets hold of a tensor's memory, for the whole run."""
        group = self._group_of(tensor)
        if group is not None:
            group.handed_out = True
        self.keep_content_of(tensor)

    def keep_content_of(self, tensor: Tensor) -> None:
        """Keep what a tensor of the user's holds, or the one whose memory it shows: it may be changed unseen."""
        entry = self._entries.get(id(tensor))
        if entry is None or entry.is_held:
            origin: Tensor | None = tensor
        else:
            origin = None if entry.group is None else entry.group.origin
        if origin is not None and origin.nbytes <= LARGEST_KEPT:
            self._keep_content(origin)

    def _run_with_effects(
        self, operation: Operation, encoded: list[Any], tail: Tail, args: Any, kwargs: Any
    ) -> Any:
        """Run an operation that may write, show the memory of another tensor, or draw numbers."""
        if operation.is_random:
            self._save_random_state(kwargs)
        written = list(operation.written(args, kwargs))
        shared: list[Tensor] = []
        for tensor in written:
            shared += self._save(tensor)
            if self.kept:
                self._set_apart(tensor)
        if operation.by_storage:
            tail = tail._replace(extra=covers_its_storage(args[0]))
        result = operation.overload(*args, **kwargs)
        if operation.is_random:
            self._follow_random_state()
        if operation.sized_by_values:
            self.sized.update((id(r), weakref.ref(r)) for r in tensors_of(result))
            tail = tail._replace(extra=tuple([r.shape for r in tensors_of(result)]))
        group = self._group_of(args[0]) if operation.shows or operation.reshapes else None
        first = self._note((operation, *encoded, tail), result, group)
        if shared:
            self.note_event(REPLACED, shared)
        if not written or operation.reshapes:
            return result
        beside = [id(t) for t in operation.written_beside(args, kwargs)]
        self._note_writes(written, beside, tensors_of(result), first)
        return result

    def _note_writes(
        self, written: list[Tensor], beside: list[int], results: list[Tensor], first: int
    ) -> None:
        """Give what an operation wrote into its new values."""
        returned = {id(r): first + place for place, r in enumerate(results)}
        for tensor in written:
            if id(tensor) in beside:  # not among the results: numbered here
                self._write(tensor, REF[self._count])
                self._count += 1
            else:
                self._write(tensor, REF[returned.get(id(tensor), first)])
        for tensor in written:
            held = self._entries[id(tensor)].group
            if held is not None and held.handed_out:
                self.note_event(READ, (tensor,))

    def _write(self, tensor: Tensor, token: Ref) -> None:
        entry = self._entries.get(id(tensor))
        if entry is None:
            return
        entry.token, entry.version = token, -1
        if entry.group is not None:
            entry.group.append(token)
            entry.seen = len(entry.group)

    def _save(self, tensor: Tensor) -> list[Tensor]:
        """Keep what a tensor of the user's holds before it is written into.

        Returns:
            The other tensors of the user's that lie in the same memory.
        """
        entry = self._entries.get(id(tensor))
        if entry is None:
            return []
        origin: Tensor | None = tensor
        if not entry.is_held:
            origin = None if entry.group is None else entry.group.origin
        if origin is None or any(origin is saved.tensor for saved in self.saved):
            return []
        number = self._entries[id(origin)].token.number
        number = next((n for n, held in self.sources.items() if held is origin), number)
        self.written.add(number)
        self._keep_content(origin)
        if origin.layout is not torch.strided:
            return []
        storage = origin.untyped_storage()._cdata
        self._written_memory.add(storage)
        return [t for t in self.sources.values() if t is not origin and lies_in(t, storage)]

    def _keep_content(self, origin: Tensor | None) -> None:
        if origin is None or any(origin is saved.tensor for saved in self.saved):
            return
        if not is_hollow(origin):
            with DisableTorchDispatch(), DisableTorchFunction(), torch.no_grad():
                self.saved.append(saved_of(origin))

    def _set_apart(self, tensor: Tensor) -> None:
        """Copy the kept values whose memory is about to be written into."""
        group = self._entries[id(tensor)].group
        for number, (held, edge) in self.kept.items():
            entry = self._entries.get(id(held))
            if edge is not None or entry is None:
                continue
            if held is tensor or (group is not None and entry.group is group):
                with DisableTorchDispatch(), DisableTorchFunction():
                    edge = get_gradient_edge(held) if held.requires_grad else False
                    self.kept[number] = (held.detach().clone(), edge)

    def _save_random_state(self, kwargs: Any) -> None:
        generator = kwargs.get("generator")
        for index, dice in enumerate(self.random_state):
            if dice.after is not None and not dice.is_at(dice.after):
                self.random_state[index] = dice._replace(is_shared=True)  # somebody else has drawn
        if not self._generators:
            for dice in self._dice:
                # The run has set a seed since it began, or somebody else has drawn.
                moved = not dice.is_at(dice.before)
                self.random_state.append(dice._replace(is_shared=moved))
            self._generators.append(None)
        if generator not in self._generators:
            self._generators.append(generator)
            read = generator.get_state
            # In front: it may be torch's own, of which another object is given, and which is put back last.
            self.random_state.insert(0, Dice(generator.set_state, read, read(), is_shared=False))

    def _follow_random_state(self) -> None:
        """Note what the run itself has drawn so far, where there are others who may draw."""
        if threading.active_count() > 1:
            self.random_state = [dice._replace(after=dice.read()) for dice in self.random_state]


def is_watched() -> bool:
    """Whether what this thread runs is watched."""
    return isinstance(current_dispatch_mode(), Tape | BesideCompiler)
