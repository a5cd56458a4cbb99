"""The watch: a run of the user's function, operation by operation, as torch dispatches them.

What is done for each operation is on the way of every attribution, so it is a few dictionary
look-ups and one comparison with the runs that are known (see ``known_runs.py``). No result is kept
alive: the watch refers to tensors weakly, and to what the run did not compute for its duration.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch._ops import HigherOrderOperator
from torch.autograd.graph import get_gradient_edge
from torch.nn import Parameter
from torch.utils import _pytree as pytree

from captum_xdnn.recording.calls_of_torch import READ, REPLACED
from captum_xdnn.recording.operations import _KNOWN, Operation, operation_of
from captum_xdnn.recording.places import Place, here
from captum_xdnn.recording.steps import (
    Mixed,
    Opaque,
    Real,
    Ref,
    Source,
    Step,
    Tail,
    ref,
    strides_of,
)
from captum_xdnn.recording.tensors import (
    covers_its_storage,
    infos_of,
    is_foreign,
    leads_to,
    lies_in,
    makes,
    tensors_of,
)

_top_hooks: Any = torch._C._autograd._top_saved_tensors_default_hooks
_PLAIN = (Tensor,)
_OWN = frozenset((Tensor, Parameter))
_SEVERAL = frozenset((tuple, list))
_LITERALS = frozenset(
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
_COMPARED = _LITERALS | {float}
GRADED, UNGRADED = Tail((), True), Tail((), False)
UNSEEN = "it was computed where it cannot be watched (another thread, an extension)"
OPAQUE = "a tensor of a class with operations of its own"


class Group:
    """Tensors that share memory.

    Attributes:
        writes: The values that were written into it, in order.
        origin: The tensor that the run did not compute and whose memory it is, if any.
        handed_out: Whether somebody outside of torch holds that memory.
    """

    __slots__ = ("handed_out", "origin", "writes")

    def __init__(self, origin: Tensor | None) -> None:
        self.writes: list[Ref] = []
        self.origin = origin
        self.handed_out = False


class _Entry(weakref.ref[Tensor]):
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


class Tape:
    """What is noted of one run.

    Args:
        root: The tree of the runs that begin as this one does.
        inputs: The tensors that move.
        keep: Numbers of the values to hold on to.
        placed: Whether to note the source line and the module of every step.

    Attributes:
        path: The steps.
        grown: How many of them were not known.
        sources: By number, the tensors that the run did not compute.
        kept: By number, the values that were asked for, each with its place in autograd's graph if
            the tensor was written into later.
        places: The place of each step, where it was noted.
        saved: Tensors of the user's that the run wrote into, with copies of what they held and their versions.
        written: Numbers of those of them that are sources.
        sized: Addresses of results whose shape values have decided.
        touches: What acts on the gradient beside the operations.
        is_noting: Whether an operation is being noted: what is read of tensors then, the tape reads.
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
        self.saved: list[tuple[Tensor, Tensor, int]] = []
        self.written: set[int] = set()
        self.touches: list[str] = []
        self.sized: set[int] = set()
        self.is_noting = False
        self.random_state: list[tuple[Any, Any]] = []
        self._keep, self._placed = keep, placed
        self._written_memory: set[int] = set()
        self._versions: dict[int, tuple[Tensor, int]] = {}
        hooks = _top_hooks(False)
        self._saving = None if hooks is None else hooks[0]
        self._step = root
        self._entries: dict[int, _Entry] = {}
        self._count = 0
        self._inputs = tuple(inputs)
        for tensor in self._inputs:
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

    def run(self, overload: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation and note it."""
        is_plain = not kwargs and (not types or types == _PLAIN)
        step = self._step.first
        # On the way of every operation of every call: no calls where a look will do.
        if (
            step is not None
            and step.overload is overload
            and is_plain
            and self._is_next(step, args)
        ):
            result = overload(*args)
            self._advance(step, result, self._group_of(args[0]) if step.shows else None)
            return result
        operation = _KNOWN.get(overload)
        if operation is None:
            if isinstance(overload, HigherOrderOperator):
                return self._run_unseen(overload, args, kwargs)
            operation = operation_of(overload)
        signature: list[Any] = [operation, *map(self._encoded, args)]
        graded = torch.is_grad_enabled()
        if graded and (hooks := _top_hooks(False)) is not None and hooks[0] is not self._saving:
            self.touches.append("hooks on saved tensors")
        if is_plain:
            tail = GRADED if graded else UNGRADED
        else:
            named = tuple([(name, self._encoded(kwargs[name])) for name in kwargs])
            tail = Tail(named, graded, any(map(is_foreign, types)))
        if not operation.plain:
            return self._run_with_effects(operation, (signature, tail), args, kwargs)
        result = overload(*args, **kwargs)
        signature.append(tail)
        self._note(tuple(signature), result, self._group_of(args[0]) if operation.shows else None)
        return result

    def _is_next(self, step: Step, args: tuple[Any, ...]) -> bool:
        """Whether a step that was seen to follow is what follows now; its new sources are entered."""
        if (
            len(args) != len(step.wanted)
            or torch.is_grad_enabled() is not step.is_graded
            or (step.is_graded and _top_hooks(False) is not None)
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

    def _run_unseen(self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator that takes functions (``cond``, ``while_loop``): what they do is not seen."""
        self.note_event(READ, pytree.tree_leaves((args, kwargs)))
        result = operator(*args, **kwargs)
        self.adopt(pytree.tree_leaves(result))
        return result

    def _run_with_effects(
        self,
        operation: Operation,
        noted: tuple[list[Any], Tail],
        args: tuple[Any, ...],
        kwargs: Any,
    ) -> Any:
        """Run an operation that writes, shows the memory of another tensor, or draws numbers."""
        overload = operation.overload
        signature, tail = noted
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
        result = overload(*args, **kwargs)
        if operation.sized_by_values:
            self.sized.update(id(r) for r in tensors_of(result))
            tail = tail._replace(extra=tuple([r.shape for r in tensors_of(result)]))
        signature.append(tail)
        group = self._group_of(args[0]) if operation.shows or operation.reshapes else None
        first = self._note(tuple(signature), result, group)
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
                self._write(tensor, ref(self._count))
                self._count += 1
            else:
                self._write(tensor, ref(returned.get(id(tensor), first)))
        for tensor in written:
            held = self._entries[id(tensor)].group
            if held is not None and held.handed_out:
                self.note_event(READ, (tensor,))

    def note_event(self, name: str, tensors: Iterable[Any]) -> None:
        """Note something that is no operation: a value that leaves torch."""
        given = tuple([self._encoded(t) for t in tensors if isinstance(t, Tensor)])
        self._note((name, given), None, None)

    def hand_out(self, tensor: Tensor) -> None:
        """Note that somebody outside of torch gets hold of a tensor's memory, for the whole run."""
        group = self._group_of(tensor)
        if group is not None:
            group.handed_out = True
            if any(group.origin is x for x in self._inputs):
                self._keep_content(group.origin)

    def adopt(self, tensors: Iterable[Any]) -> None:
        """Take note of tensors that nothing seen has computed."""
        fresh = [t for t in tensors if isinstance(t, Tensor) and id(t) not in self._entries]
        if fresh:
            self._note((UNSEEN, len(fresh)), fresh, None)

    def run_whole(self, overload: Any, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run a function of torch as the one operation that it is, whatever it is made of."""
        operation = operation_of(overload)
        encoded = [self._encoded(value) for value in args]
        named = tuple([(name, self._encoded(kwargs[name])) for name in kwargs])
        signature = (operation, *encoded, Tail(named, torch.is_grad_enabled()))
        self._save_random_state(kwargs)
        with torch._C._DisableTorchDispatch():
            result = function(*args, **kwargs)
        self._note(signature, result, None)
        return result

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

    def _enter(self, tensor: Tensor, group: Group | None = None) -> _Entry:
        """Enter a tensor under the next number."""
        entry = self._entries[id(tensor)] = _Entry(tensor)
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
        if kind in _LITERALS:
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

    def _look_at_version(self, tensor: Tensor, entry: _Entry) -> None:
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

    def written_since(self, earlier: Tape) -> bool:
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
        with torch._C.DisableTorchFunction():
            connected = tensor.requires_grad and tensor.grad_fn is not None
            if connected and leads_to(tensor, self._inputs):
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
        with torch._C.DisableTorchFunction():
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

    def _write(self, tensor: Tensor, token: Ref) -> None:
        entry = self._entries.get(id(tensor))
        if entry is None:
            return
        entry.token, entry.version = token, -1
        if entry.group is not None:
            entry.group.writes.append(token)
            entry.seen = len(entry.group.writes)

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
        if origin is None or any(origin is held for held, _, _ in self.saved):
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
        if origin is None or any(origin is held for held, _, _ in self.saved):
            return
        with torch._C._DisableTorchDispatch(), torch.no_grad():
            version = 0 if origin.is_inference() else origin._version
            self.saved.append((origin, origin.detach().clone(), version))

    def _set_apart(self, tensor: Tensor) -> None:
        """Copy the kept values whose memory is about to be written into."""
        group = self._entries[id(tensor)].group
        for number, (held, edge) in self.kept.items():
            entry = self._entries.get(id(held))
            if edge is not None or entry is None:
                continue
            if held is tensor or (group is not None and entry.group is group):
                with torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunction():
                    edge = get_gradient_edge(held) if held.requires_grad else False
                    self.kept[number] = (held.detach().clone(), edge)

    def _save_random_state(self, kwargs: Any) -> None:
        if self.random_state:
            return
        self.random_state.append((torch.set_rng_state, torch.get_rng_state()))
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            states = torch.cuda.get_rng_state_all()
            self.random_state.append((torch.cuda.set_rng_state_all, states))
        generator = kwargs.get("generator")
        if generator is not None:
            self.random_state.append((generator.set_state, generator.get_state()))
