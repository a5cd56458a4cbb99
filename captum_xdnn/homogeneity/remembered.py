"""Which knowledge is of which function: shared by all who attribute it, gone when it is gone."""

from __future__ import annotations

import functools
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

from captum_xdnn.homogeneity.derived import Derived, root_of
from captum_xdnn.homogeneity.knowledge import Knowledge

KEPT_FUNCTIONS = 16

_KNOWN: dict[Any, tuple[Any, Knowledge]] = {}
_KNOWN_LOCK = threading.Lock()
_KEPT: list[Any] = []
"""Keys of functions that cannot be referred to weakly, oldest first."""


def knowledge_of(function: Callable[..., Any]) -> Knowledge:
    """The knowledge of a function, shared by all who attribute it, gone when it is gone."""
    owner: Any = root_of(function)
    part: Any = None
    if isinstance(owner, types.MethodType):
        owner, part = owner.__self__, owner.__func__
    key: Any = (id(owner), id(part))
    if isinstance(function, Derived):
        key = (*key, function.key)
    held = _KNOWN.get(key)
    if held is not None and held[0]() is owner:
        return held[1]
    with _KNOWN_LOCK:
        held = _KNOWN.get(key)
        if held is not None and held[0]() is owner:
            return held[1]
        try:
            reference: Any = weakref.ref(owner, functools.partial(_forget, key))
        except TypeError:
            reference = functools.partial(_itself, owner)
            _KEPT.append(key)
            for old in _KEPT[:-KEPT_FUNCTIONS]:
                _KNOWN.pop(old, None)
            del _KEPT[:-KEPT_FUNCTIONS]
        knowledge = Knowledge()
        _KNOWN[key] = (reference, knowledge)
        return knowledge


def _itself(owner: Any) -> Any:
    """In place of a weak reference, for the few callables that allow none."""
    return owner


def _forget(key: Any, reference: Any) -> None:
    held = _KNOWN.get(key)
    if held is not None and held[0] is reference:
        _KNOWN.pop(key, None)
