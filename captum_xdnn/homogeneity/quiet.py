"""Keep what the tracer says to itself from the user's screen.

``torch.export`` writes the half-traced graph to stderr and warns through the log when it meets
something that it refuses. A refusal is an answer here and goes into the certificate. Only the
tracing thread is silenced: whatever other threads write meanwhile passes through.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class _StderrOfOthers:
    """Stands in for ``sys.stderr`` and swallows what one thread writes."""

    def __init__(self, stream: Any, thread: int) -> None:
        self._stream = stream
        self._thread = thread

    def write(self, text: str) -> int:
        if threading.get_ident() == self._thread:
            return len(text)
        return int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Silence the tracer in this thread.

    Yields:
        The warnings that were raised meanwhile, filled as they come.
    """
    thread = threading.get_ident()

    def others(record: logging.LogRecord) -> bool:
        return record.thread != thread or not record.name.startswith("torch")

    handlers = [*logging.getLogger("torch").handlers, *logging.getLogger().handlers]
    for handler in handlers:
        handler.addFilter(others)
    stderr = sys.stderr
    sys.stderr = _StderrOfOthers(stderr, thread)
    try:
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always")
            yield raised
    finally:
        sys.stderr = stderr
        for handler in handlers:
            handler.removeFilter(others)
