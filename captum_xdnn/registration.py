"""Registration: ``captum.attr.XIntegratedGradients`` and Captum Insights' tables of methods."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from typing import Any

import captum.attr

from captum_xdnn.attr import XIntegratedGradients

METHODS: dict[str, type] = {"XIntegratedGradients": XIntegratedGradients}
"""The classes that registration puts into ``captum.attr``, by name."""

_INSIGHTS = "captum.insights.attr_vis.attribution_calculation"
_CONFIG = "captum.insights.attr_vis.config"


def register() -> None:
    """Make the methods of this package known to Captum; importing the package does it.

    ``captum.attr`` gets the classes and lists them in ``__all__``. With Captum 0.8, where
    ``captum.insights`` can be imported, its menu of methods gets them too. Calling it again
    changes nothing.
    """
    for name, method in METHODS.items():
        setattr(captum.attr, name, method)
        if name not in captum.attr.__all__:
            captum.attr.__all__.append(name)
    for methods, arguments in _insights_tables():
        for method in METHODS.values():
            name = f"X {captum_name(method)}"
            methods[name] = method
            arguments[name] = arguments.get(captum_name(method), {})


def unregister() -> None:
    """Undo :func:`register`; calling it again changes nothing."""
    for name, method in METHODS.items():
        if getattr(captum.attr, name, None) is method:
            delattr(captum.attr, name)
        with contextlib.suppress(ValueError):
            captum.attr.__all__.remove(name)
    for methods, arguments in _insights_tables():
        for method in METHODS.values():
            methods.pop(f"X {captum_name(method)}", None)
            arguments.pop(f"X {captum_name(method)}", None)


def captum_name(method: type) -> str:
    """The name under which Captum's own class stands in a menu, in words."""
    name = method.__mro__[1].__name__
    return "".join(f" {c}" if c.isupper() else c for c in name).strip()


def _insights_tables() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Captum Insights' tables of methods and of their arguments, where it can be imported."""
    if importlib.util.find_spec("captum.insights") is None:
        return []
    try:
        config = importlib.import_module(_CONFIG)
    except ImportError:
        return []
    return [(config.SUPPORTED_ATTRIBUTION_METHODS, config.ATTRIBUTION_METHOD_CONFIG)]
