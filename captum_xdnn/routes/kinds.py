"""Functions of one kind: of the same code, made of the same kinds of modules.

A lambda, a wrapper or a copy of a network that is made for each call is another function each time, of which
nothing is remembered. What looking at functions costs is therefore counted for the kind.
"""

from __future__ import annotations

import functools
import types
from typing import Any

from captum_xdnn.recording.places import namespace_of, roots_of
from captum_xdnn.recording.threads import lock
from captum_xdnn.routes.looks import Looks

MOST = 64

_LOCK = lock()
_LOOKS: dict[int, Looks] = {}
"""What is known of each kind, the last ones that were met first; nothing of the user's is held."""


def looks_of(owner: Any, layers: tuple[Any, ...] = (), made: type | None = None) -> Looks:
    """What looking at functions of this kind has cost; ``made`` of an owner, with some of its layers."""
    kind = kind_of(owner, layers, made)
    with _LOCK:
        if kind not in _LOOKS and len(_LOOKS) >= MOST:
            _LOOKS.pop(next(iter(_LOOKS)))
        return _LOOKS.setdefault(kind, Looks())


def kind_of(owner: Any, layers: tuple[Any, ...], made: type | None) -> int:
    """A number that functions of one kind share; two kinds that share one would share a budget, no more."""
    inner = owner
    while issubclass(type(inner), functools.partial | types.MethodType):
        inner = inner.func if issubclass(type(inner), functools.partial) else inner.__func__
    code = inner.__code__ if type(inner) is types.FunctionType else id(type(inner))
    found: list[Any] = [id(made), code]
    seen, stack = set[int](), [module for _, module in roots_of(owner)]
    while stack:
        module = stack.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        modules, weights = map(namespace_of(module).get, ("_modules", "_parameters"))
        if type(modules) is type(weights) is dict:  # else a script's
            names = tuple([name for name, weight in weights.items() if weight is not None])
            found.append((id(type(module)), names, any(module is layer for layer in layers)))
            stack += modules.values()
    return hash(tuple(found))


def forget() -> None:
    """Forget all kinds."""
    with _LOCK:
        _LOOKS.clear()
