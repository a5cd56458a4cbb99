"""Put another class in the place of Captum's ``IntegratedGradients``, as its users would import it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import captum.attr

NAME = "IntegratedGradients"


@contextmanager
def integrated_gradients_is(replacement: type) -> Iterator[list[str]]:
    """Rebind the name in every loaded module of Captum that holds the class; undone on leaving.

    A module of Captum that is loaded meanwhile imports the replacement.

    Args:
        replacement: The class to find under the name.

    Yields:
        The names of the modules in which it was rebound.
    """
    original = vars(captum.attr)[NAME]
    holders = [
        module
        for name, module in list(sys.modules.items())
        if name.split(".")[0] == "captum" and vars(module).get(NAME) is original
    ]
    for module in holders:
        setattr(module, NAME, replacement)
    try:
        yield sorted(module.__name__ for module in holders)
    finally:
        for module in holders:
            setattr(module, NAME, original)
