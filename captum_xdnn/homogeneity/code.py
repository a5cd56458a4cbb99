"""What Python code reads from outside of itself: the places in which names are looked up.

Both readings of a fingerprint (``fingerprint.py`` and ``watch.py``) ask here, so that they agree
on what decides what a function computes.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any

from torch import Tensor, nn

LIBRARIES = frozenset((*sys.stdlib_module_names, "torch", "torchvision", "captum", "numpy"))
"""Packages whose functions and objects are noted by identity, without what they hold."""

CONFIGURATIONS = ("types", "argparse")
"""Where the two classes of the standard library come from that only hold a user's settings."""

MANY = 64
"""Containers larger than this are noted by identity and length only."""

Place = tuple[dict[str, Any], str]
"""A namespace, and a name that is looked up in it."""


def places(function: types.FunctionType) -> list[Place]:
    """Where a function finds its globals, and what it takes from modules among them.

    ``F.relu`` in a ``forward`` gives two places: ``F`` among the function's globals, and ``relu``
    in the namespace of ``torch.nn.functional``, where a patch would put another.

    Args:
        function: The function.
    """
    scope = function.__globals__
    names = _names(function.__code__)
    found = [(scope, name) for name in names if name in scope]
    for _, name in tuple(found):
        module = scope[name]
        if isinstance(module, types.ModuleType):
            inside = vars(module)
            found += [(inside, attribute) for attribute in names if attribute in inside]
    return found


@lru_cache(maxsize=4096)
def _names(code: types.CodeType) -> tuple[str, ...]:
    """The names in the code and in what is defined inside of it, comprehensions among them."""
    inner = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return tuple(dict.fromkeys((*code.co_names, *(n for each in inner for n in _names(each)))))


def is_of_torch(frame: types.FrameType) -> bool:
    """Whether a frame runs code of torch itself."""
    return str(frame.f_globals.get("__name__", "")).split(".", 1)[0] == "torch"


def classes(kind: type) -> Iterator[type]:
    """A module's class and its bases, up to the one that PyTorch gives to all.

    Args:
        kind: The class.
    """
    for each in kind.__mro__:
        if each is nn.Module or each is object:
            return
        yield each


def functions(kind: type) -> Iterator[types.FunctionType]:
    """The functions of a class that may run in a call: of a library's class, ``forward`` alone.

    Args:
        kind: The class.
    """
    if is_library(kind):
        forward = vars(kind).get("forward")
        members = [forward]
    else:
        members = list(vars(kind).values())
    for member in members:
        if isinstance(member, property):
            member = member.fget
        elif isinstance(member, staticmethod | classmethod):
            member = member.__func__
        if isinstance(member, types.FunctionType):
            yield member


def is_library(value: Any) -> bool:
    """Whether a function or class belongs to a library, and is not looked into.

    Args:
        value: The function or class.
    """
    return (getattr(value, "__module__", None) or "").split(".")[0] in LIBRARIES


def settings(value: Any) -> dict[str, Any] | None:
    """The attributes of a plain object, where they may be a user's settings; else None.

    Args:
        value: Any object, not a module, tensor, function or class.
    """
    kind = type(value)
    if is_library(kind) and kind.__module__ not in CONFIGURATIONS:
        return None
    held = getattr(value, "__dict__", None)
    return held if type(held) is dict else None


def is_large(container: Collection[Any]) -> bool:
    """Whether a container is only counted: a vocabulary, not a list of modules or tensors.

    Args:
        container: A container.
    """
    if len(container) <= MANY:
        return False
    items = container.values() if isinstance(container, dict) else container
    return not any(isinstance(item, nn.Module | Tensor) for item in items)
