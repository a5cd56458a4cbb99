"""The modes of torch by which a tape sees a run: operations, and calls that no operation shows."""

from __future__ import annotations

from typing import Any

from torch.overrides import TorchFunctionMode

from captum_xdnn._torch import (
    DispatchModeKey,
    TorchDispatchMode,
    compiler,
    get_dispatch_mode,
    in_forward_mode,
    len_torch_dispatch_stack,
)
from captum_xdnn.recording.calls_of_torch import (
    EVENTS,
    has_own_functions,
    runs_others,
)
from captum_xdnn.recording.steps import READ
from captum_xdnn.recording.watch import Tape

_TRACING = (DispatchModeKey.PROXY, DispatchModeKey.FUNCTIONAL)


def is_transformed() -> bool:
    """Whether a call is being traced, or differentiated in forward mode."""
    return in_forward_mode() or any(map(get_dispatch_mode, _TRACING))


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Shows every operation to a tape."""

    supports_higher_order_operators = True  # else those raise, and leave torch's compiler at odds

    def __init__(self, tape: Tape) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._tape = tape

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler at the first operation, to keep it out

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run the operation and note it; one that raises has told something about its values."""
        tape = self._tape
        tape.is_noting = True
        try:
            return tape.run(func, types, args, kwargs or {})
        except Exception:
            tape.note_failure(func, args, kwargs or {})
            raise
        finally:
            tape.is_noting = False


class _BesideCompiler(_Operations):  # type: ignore[no-untyped-call]
    """The same where torch's compiler is at work: it must not compile this."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run the operation and note it."""
        return super().__torch_dispatch__(func, types, args, kwargs)


def operations(tape: Tape) -> TorchDispatchMode:
    """A mode that shows every operation to a tape."""
    return _Operations(tape) if compiler() is None else _BesideCompiler(tape)


class Calls(TorchFunctionMode):
    """Shows a tape the calls of torch's functions that no operation shows."""

    def __init__(self, tape: Tape) -> None:
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
            event = EVENTS.get(func)
            if (
                (types and any(map(has_own_functions, types)))
                or len_torch_dispatch_stack() > self._depth
                or (event is None and runs_others(func, args, kwargs))
            ):
                tape.note_event(READ, tape.inputs)
            if event is not None:
                return event(tape, func, args, kwargs or {})
        return func(*args, **kwargs) if kwargs else func(*args)
