"""Put other classes in the place of Captum's, as its users would import them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import captum.attr

import captum_xdnn

NAME = "IntegratedGradients"
NAMES = (
    NAME,
    "LayerIntegratedGradients",
    "NeuronIntegratedGradients",
    "LayerConductance",
    "NeuronConductance",
    "InternalInfluence",
)


def family() -> dict[str, type]:
    """This package's class for the name of each of Captum's."""
    return {name: getattr(captum_xdnn, f"X{name}") for name in NAMES}


@contextmanager
def classes_are(replacements: Mapping[str, type]) -> Iterator[list[str]]:
    """Rebind names in every loaded module of Captum that holds the classes; undone on leaving.

    A module of Captum that is loaded meanwhile imports the replacements. This package's own
    modules keep Captum's classes, which its classes are made of.

    Args:
        replacements: The class to find under each name.

    Yields:
        The names of the modules in which any was rebound.
    """
    originals = {name: vars(captum.attr)[name] for name in replacements}
    holders = [
        (module, name)
        for module_name, module in list(sys.modules.items())
        if module_name.split(".")[0] == "captum"
        for name, original in originals.items()
        if vars(module).get(name) is original
    ]
    for module, name in holders:
        setattr(module, name, replacements[name])
    try:
        yield sorted({module.__name__ for module, _ in holders})
    finally:
        for module, name in holders:
            setattr(module, name, originals[name])


def integrated_gradients_is(replacement: type) -> object:
    """Rebind ``IntegratedGradients`` alone.

    Args:
        replacement: The class to find under the name.
    """
    return classes_are({NAME: replacement})
