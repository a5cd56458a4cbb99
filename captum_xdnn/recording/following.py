"""The watch of a run that does what was seen before: all that is done for each of its operations.

It is on the way of every attribution, so it is a few dictionary look-ups and one comparison with the
step that was seen to follow (see ``steps.py``), here and nowhere else; what is new goes the longer way
(``values.py``, ``watch.py``). No result is kept alive: tensors are referred to weakly, and what the
run did not compute for its duration.
"""

import types as python_types
import weakref
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.overrides import TorchFunctionMode

from captum_xdnn._torch import (
    DisableTorchFunction,
    OpOverload,
    OpOverloadPacket,
    TorchDispatchMode,
    compiler,
    len_torch_dispatch_stack,
    top_hooks,
)
from captum_xdnn.recording.compiling import BesideCompiler
from captum_xdnn.recording.places import Place, here
from captum_xdnn.recording.random_state import torchs_dice
from captum_xdnn.recording.steps import LITERALS, READ, REF, Real, Source, Step
from captum_xdnn.recording.tensors import Entry, Group, Saved, has_own_functions, makes

_COMPARED = LITERALS | {float, list}
_SEVERAL = frozenset((tuple, list))
_PLAIN = (Tensor,)
OWN = frozenset((Tensor, Parameter))
_COMMON = frozenset((Tensor, Parameter, int, float, bool, type(None), str, tuple, torch.Size))
MAY_RUN_OTHERS = frozenset((python_types.FunctionType, OpOverload, OpOverloadPacket))
OF_TORCH: set[Any] = set()
"""Torch's own functions in Python that were called; as many as torch has, and no more."""


def watched(function: Any, *args: Any) -> Any:
    """Call a function; what is above this frame is not the user's."""
    return function(*args)


def _is_named(named: dict[str, Any], given: dict[str, Any]) -> bool:
    """Whether the arguments by name are the literals that were seen."""
    return named.keys() == given.keys() and all(
        type(value) is type(named[name]) and type(value) in LITERALS and value == named[name]
        for name, value in given.items()
    )


class Following(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A run so far, shown by torch operation by operation: its steps, and which tensor has which value.

    It begins at the root of a tree of known runs, with the tensors that move. Of the values it holds
    on to those with certain numbers (``keep``); the source line and the module of each step are noted
    where the run is ``placed``.

    Attributes:
        grown: How many of its steps were not known.
        sources: By number, the tensors that the run did not compute.
        kept: By number, the values that were asked for, each with its place in autograd's graph if
            the tensor was written into later.
        written: Numbers of the sources and inputs that the run wrote into.
        saved: Tensors of the user's that the run may have written into, as they were.
        sized: By address, weak references to results whose shape values have decided.
        touches: What acts on the gradient beside the operations.
        stopped: What ended the run before its end.
        is_noting: Whether an operation is being noted: what is read of tensors then, the tape reads.
        random_state: Torch's sources of random numbers that the run drew from, as they were.
    """

    supports_higher_order_operators = True  # else those raise, and leave torch's compiler at odds

    def __init__(
        self,
        root: Step,
        inputs: Iterable[Tensor],
        keep: Container[int] = (),
        *,
        placed: bool = True,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.path: list[Step] = []
        self.grown = 0
        self.sources: dict[int, Tensor] = {}
        self.kept: dict[int, tuple[Tensor, Any]] = {}
        self.places: list[Place | None] = []
        self.written: set[int] = set()
        self.saved: list[Saved] = []
        self.sized: dict[int, Any] = {}
        self.touches: list[str] = []
        self.stopped: BaseException | None = None
        self.is_noting = False
        self.random_state: list[Any] = []
        self._dice = torchs_dice()
        self._keep, self._placed, self._step = keep, placed, root
        self._given: Sequence[Any] = ()
        self._generators: list[Any] = []
        self._written_memory: set[int] = set()
        self._versions: dict[int, tuple[Tensor, int]] = {}
        self._entries: dict[int, Entry] = {}
        self._count = 0
        self._saving = (top_hooks(False) or (None,))[0]
        self.inputs = tuple(inputs)
        for tensor in self.inputs:
            self._take(tensor)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler at the first operation, to keep it out

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and note it; one that raises has told something about its values."""
        self.is_noting = True
        try:
            step = self._step.first
            if (
                step is None
                or step.overload is not func
                or ((kwargs or step.named) and not _is_named(step.named, kwargs or {}))
                or (types and types != _PLAIN)
                or not self._is_next(step, args)
            ):
                return self._run_new(func, types, args, kwargs or {})
            self._given = step.given
            result = step.run(*args, **kwargs) if kwargs else step.run(*args)
            self._advance(step, result, self._group_of(args[0]) if step.shows else None)
            return result
        except Exception:
            self._note_failure(func, args, kwargs or {})
            raise
        finally:
            self.is_noting = False

    # What is not as it was seen before.
    _run_new: Callable[..., Any]
    _note_failure: Callable[..., None]
    note_event: Callable[[str, Iterable[Any]], None]

    def _is_next(self, step: Step, args: tuple[Any, ...]) -> bool:
        """Whether a step that was seen to follow is what follows now; its new sources are entered."""
        if step.lengths:
            args = step.taken_apart(args)
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
                    or (group is not None and entry.seen != len(group))
                ):
                    return False
            elif type(want) is Source:
                if not self._is_source(value, want):
                    return False
                fresh = (*fresh, value)
            elif (
                value is not want
                and (type(value) is not type(want) or type(value) not in _COMPARED or value != want)
                and not (type(want) is Real and type(value) is float and value.hex() == want[0])
            ):
                return False
        for tensor in fresh:
            self._take_source(tensor)
        return True

    def _is_lone(self, tensor: Any) -> bool:
        """Whether writing into a tensor changes that tensor alone, and nothing that is kept."""
        entry = self._entries.get(id(tensor))
        if entry is None or entry.is_held:
            return False
        return entry.group is None and not self.kept

    def _is_source(self, tensor: Any, known: Source) -> bool:
        """Whether a value is a tensor of a known form that the run did not compute."""
        if type(tensor) not in OWN or self._written_memory or known.flaw:
            return False
        form = known.info
        with DisableTorchFunction():
            return (
                tensor.layout is torch.strided
                and tensor.shape == form.shape
                and tensor.stride() == form.strides
                and tensor.dtype is form.dtype
                and tensor.device == form.device
                and (not tensor.requires_grad or tensor.grad_fn is None)
            )

    def _advance(self, step: Step, result: Any, group: Group | None) -> None:
        """Go to the next step, and enter its results."""
        self._step = step
        self.path.append(step)
        if self._placed:
            self.places.append(here(watched.__code__))
        for tensor in result if type(result) in _SEVERAL else (result,):
            if isinstance(tensor, Tensor):
                count = self._count
                if count in self._keep:
                    self.kept[count] = (tensor, None)
                entry = self._entries.get(id(tensor))
                if entry is None or entry() is not tensor:  # else written, or given back as it is
                    entry = self._entries[id(tensor)] = Entry(tensor)
                    entry.group, entry.version, entry.is_held = group, -1, False
                    if self._placed and makes(step.signature) and not tensor.is_inference():
                        entry.version = tensor._version
                entry.token = REF[count]
                entry.seen = 0 if entry.group is None else len(entry.group)
                self._count = count + 1

    def _take(self, tensor: Tensor) -> None:
        """Enter a tensor that the run did not compute."""
        entry = self._entries[id(tensor)] = Entry(tensor)
        entry.token, entry.group, entry.seen = REF[self._count], None, 0
        entry.version, entry.is_held = -1, True
        self._count += 1

    def _take_source(self, tensor: Tensor) -> None:
        """Enter one that is no input, and hold it."""
        if self._placed and not tensor.is_inference():
            self._versions[self._count] = (tensor, tensor._version)
        self.sources[self._count] = tensor
        self._take(tensor)

    def _group_of(self, tensor: Tensor) -> Group | None:
        entry = self._entries.get(id(tensor))
        if entry is None:
            return None
        if entry.group is None:
            entry.group = group = Group()
            group.origin, group.handed_out = tensor if entry.is_held else None, False
        return entry.group

    def survivors(self) -> Iterator[tuple[Any, int]]:
        """Weak references to the results that somebody keeps, with their numbers."""
        for entry in self._entries.values():
            tensor = None if entry.is_held else entry()
            if tensor is not None:
                yield weakref.ref(tensor), entry.token.number


def operations(tape: Following) -> TorchDispatchMode:
    """A mode that shows every operation to a tape."""
    return tape if compiler() is None else BesideCompiler(tape)


class Functions(TorchFunctionMode):
    """Shows a tape the calls of torch's functions that no operation shows: see ``Calls``."""

    events: ClassVar[dict[Any, Callable[..., Any]]]
    runs_others: ClassVar[Callable[..., bool]]

    def __init__(self, tape: Following) -> None:
        super().__init__()
        self._tape = tape
        self._depth = len_torch_dispatch_stack() + 1

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call the function, and note what it does beside computing.

        Torch turns this mode off meanwhile: what code of the user's that the function runs reads then
        is not seen, so it counts as reading the inputs.
        """
        tape = self._tape
        if not tape.is_noting:
            event = self.events.get(func)
            usual = (
                (type(func) not in MAY_RUN_OTHERS or func in OF_TORCH)
                and _COMMON.issuperset(map(type, args))
                and (not kwargs or _COMMON.issuperset(map(type, kwargs.values())))
            )
            if (
                (types and types != _PLAIN and any(map(has_own_functions, types)))
                or len_torch_dispatch_stack() > self._depth
                or not (usual or event or not self.runs_others(func, args, kwargs))
            ):
                tape.note_event(READ, tape.inputs)
            if event is not None:
                return event(tape, func, args, kwargs or {})
        return func(*args, **kwargs) if kwargs else func(*args)
