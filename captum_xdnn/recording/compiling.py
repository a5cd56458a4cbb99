"""Attribution and ``torch.compile``: neither is compiled nor runs compiled code that it cannot use."""

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ParamSpec, TypeVar

import torch

from captum_xdnn._torch import TorchDispatchMode, compiler, looking
from captum_xdnn.recording.threads import lock

_P = ParamSpec("_P")
_R = TypeVar("_R")
_SKIPS_FOR_GOOD = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 14)
"""Whether the compiler never compiles again what it met first while a mode was on."""


def not_compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """A function that a compiled one calls as it is: it makes graphs of its own."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        if torch.compiler.is_compiling():
            disable: Any = torch.compiler.disable
            result: _R = disable(function)(*args, **kwargs)
            return result
        return function(*args, **kwargs)

    return call


class _Eager(AbstractContextManager[None]):
    """torch's stance towards compiled functions, which is one for all threads, while it is eager.

    The first who comes in sets it, the last who goes out puts back what was there.
    """

    def __init__(self) -> None:
        self._lock = lock()
        self._inside = 0
        self._stance: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._stance = torch.compiler.set_stance("force_eager")  # set when it is made
                self._stance.__enter__()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._stance.__exit__(None, None, None)


_EAGER = _Eager()


def uncompiled() -> AbstractContextManager[None]:
    """Run what ``torch.compile`` compiled as it was written, with the same parameters.

    A compiled backward pass cannot be differentiated; the rest of the training step stays compiled.
    """
    return nullcontext() if compiler() is None else _EAGER


@contextmanager
def _left_alone() -> Iterator[None]:
    before = compiler()
    try:
        with uncompiled():
            yield
    finally:
        if before is None and compiler() is not None:  # the run itself has brought it
            compiler().reset()  # nobody else has compiled yet


compiler_left_alone = _left_alone if _SKIPS_FOR_GOOD else nullcontext
"""A run under a mode, for which compiled code steps aside, and after which it is compiled as ever."""


class BesideCompiler(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode where torch's compiler is loaded, which must not compile what the mode does.

    Torch keeps it from every mode, at the cost of some microseconds an operation. Here that is done only
    where it looks at the frames of this thread: inside of a function that ``torch.compile`` compiled.
    """

    supports_higher_order_operators = True

    def __init__(self, mode: TorchDispatchMode) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._mode, self._apart = mode, _shown_apart()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return looking is None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Show the operation to the mode."""
        if looking is None or looking() is None:
            shown: Any = self._mode.__torch_dispatch__
            return shown(func, types, args, kwargs)
        return self._apart(self._mode, func, types, args, kwargs)


@functools.cache
def _shown_apart() -> Any:
    """Shows a mode an operation without the compiler; made before that one looks, as making it is its business."""
    # The frame that asks whether it looks is left alone, and none that it calls.
    compiler().decorators.skip(BesideCompiler.__torch_dispatch__)
    return compiler().disable(lambda mode, *shown: mode.__torch_dispatch__(*shown))
