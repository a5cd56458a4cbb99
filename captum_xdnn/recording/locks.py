"""Locks of what all threads share."""

import os
import threading


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
