"""A line now and then, while something takes long that says nothing itself."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

EVERY = 1.5
"""Seconds."""


class Waiting:
    """Says from a thread of its own what is waited for, until it is over."""

    def __init__(self, what: str, every: float = EVERY) -> None:
        self._what, self._every = what, every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._say, daemon=True)
        self._thread.start()

    def _say(self) -> None:
        start = time.monotonic()
        while not self._over.wait(self._every):
            said = f"{self._what}: {time.monotonic() - start:.0f} s ..."
            with suppress(OSError, ValueError):  # who reads has gone: that is for what comes to say
                print(said, flush=True)  # noqa: T201 - to whom waits

    def end(self) -> None:
        """Say no more."""
        self._over.set()
        self._thread.join()


@contextmanager
def waiting(what: str, every: float = EVERY) -> Iterator[None]:
    """Say what is waited for while the block runs."""
    said = Waiting(what, every)
    try:
        yield
    finally:
        said.end()


def is_shown(progress: bool) -> bool:
    """Whether a bar is drawn: where it is wanted, and there is a standard error, which a program without a console lacks."""
    return progress and sys.stderr is not None


def is_the_demo(arguments: Sequence[str], command: Sequence[str]) -> bool:
    """Whether a process was started as ``python -m captum_xdnn`` or ``captum-xdnn``, for the demonstration.

    By what is run (``sys.argv[0]`` is ``-m`` while a module is looked for): a user's own program may have
    such words among its arguments, and one that embeds Python has none.
    """
    if not arguments:
        return False
    name, *given = arguments
    module = command[len(command) - len(given) - 1 : len(command) - len(given)]
    ours = list(module) == ["captum_xdnn"] if name == "-m" else Path(name).stem == "captum-xdnn"
    demo = not given or given[0] == "demo" or given[0].startswith("-")
    return ours and demo and {"-h", "--help", "--version"}.isdisjoint(given)


# torch is imported with the package, before the demo can say anything: it takes seconds, more the first time.
_demo = is_the_demo(getattr(sys, "argv", []), sys.orig_argv)
importing = Waiting("importing torch and captum") if _demo else None
