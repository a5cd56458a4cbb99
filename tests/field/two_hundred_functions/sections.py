"""The files of functions, and what each needs beside the package."""

from __future__ import annotations

import importlib
import importlib.util
import warnings

from .explained import Maker
from .judging import Found, judge

RAISING = "calls that raise"
SECTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "one perceptron in many settings": ("perceptrons", ()),
    "tabular": ("tabular", ()),
    "series": ("series", ()),
    "decisions and physics": ("decisions", ()),
    "torchvision": ("vision_networks", ("torchvision",)),
    "torchvision's parts and settings": ("vision_parts", ("torchvision",)),
    "graphs": ("graph_networks", ("torch_geometric",)),
    "language, from configurations": ("language", ("transformers",)),
    "images and sound, from configurations": ("other_transformers", ("transformers",)),
    RAISING: ("raising", ()),
}
"""For each section the module here that declares its ``FUNCTIONS``, and the packages it needs."""


def missing(section: str) -> str:
    """The packages that a section needs and that are not installed."""
    needed = SECTIONS[section][1]
    return ", ".join(name for name in needed if importlib.util.find_spec(name) is None)


def functions_of(section: str) -> dict[str, Maker]:
    """The functions of a section, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other packages, while they are imported
        module = importlib.import_module(f".{SECTIONS[section][0]}", __package__)
    functions: dict[str, Maker] = module.FUNCTIONS
    return functions


def examined(section: str, name: str, make: Maker) -> Found:
    """What is seen of a function, also where another version of its package makes it otherwise."""
    try:
        found = judge(name, make)
    except Exception as error:
        return Found(name, faults=[f"could not be examined: {type(error).__name__}: {error}"])
    if bool(found.raised) != (section == RAISING):
        found.faults.append(f"Captum raises {found.raised or 'nothing'}")
    return found
