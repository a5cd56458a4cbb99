"""The runs that were seen, by structure: bounded, shared by all functions, threads and explainers.

A structure holds no reference to a module or a tensor, so there is nothing in it to go stale.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

from captum_xdnn.recording.steps import Step

MOST_STEPS = 3072
"""So many steps are kept, those of graphs counted as well; a longer run is kept alone."""

_LOCK = threading.Lock()
_ROOTS: OrderedDict[Hashable, tuple[Step, list[int]]] = OrderedDict()
"""For each form of the inputs the tree of runs that begin with it, the least recently used first,
and how many steps are in it."""
_edition = 0


def root_of(key: Hashable, edition: int) -> Step:
    """The tree of the runs that begin with these inputs."""
    global _edition
    with _LOCK:
        if edition != _edition:
            _ROOTS.clear()
            _edition = edition
        held = _ROOTS.get(key)
        if held is None:
            held = _ROOTS[key] = (Step(None, None), [0])
        else:
            _ROOTS.move_to_end(key)
        return held[0]


def settle(key: Hashable, grown: int) -> None:
    """Account for new steps in a tree, and forget the trees that were not used for longest."""
    with _LOCK:
        held = _ROOTS.get(key)
        if held is None:
            return
        alone = held[1][0] == 0
        held[1][0] += grown
        total = sum(count[0] for _, count in _ROOTS.values())
        while total > MOST_STEPS and len(_ROOTS) > 1:
            _, (_, dropped) = _ROOTS.popitem(last=False)
            total -= dropped[0]
        if total > MOST_STEPS and not alone:
            _ROOTS.clear()


def forget() -> None:
    """Forget all runs."""
    with _LOCK:
        _ROOTS.clear()
