"""A line now and then, while something takes long that says nothing itself."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


def is_the_demo(command: Sequence[str]) -> bool:
    """Whether a process was started as ``python -m captum_xdnn`` or ``captum-xdnn``, which reads for a person."""
    return command[-2:] == ["-m", "captum_xdnn"] or Path(command[-1]).stem == "captum-xdnn"


# torch is imported with the package, before the demo can say anything: it takes seconds, more the first time.
importing = Waiting("importing torch and captum") if is_the_demo(sys.orig_argv) else None
