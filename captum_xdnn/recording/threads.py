"""Other threads: locks of what all share, and whether another one has worked."""

import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any


def lock() -> threading.RLock:
    """A lock for a moment, for the whole process, that a forked child finds free.

    Whoever forks waits for it: in the child there is nobody who could give it back.
    """
    made = threading.RLock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=made.acquire, after_in_parent=made.release, after_in_child=made.release
        )
    return made


def others_work() -> tuple[Any, ...]:
    """How long each of the other threads has worked; never the same twice where that is not known."""
    if threading.active_count() == 1:
        return ()
    if sys.platform != "linux":
        return (object(),)
    mine = threading.get_ident()
    numbers = [t.native_id for t in threading.enumerate() if t.ident != mine]
    with suppress(OSError):
        # The kernel's clock of a thread stands still while that one sleeps.
        return tuple((n, time.clock_gettime((~n << 3) | 6)) for n in numbers if n is not None)
    return (object(),)
