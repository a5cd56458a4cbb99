"""Registration: the classes in ``captum.attr``, and Captum Insights' tables of methods."""

import functools
import importlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import captum.attr

from captum_xdnn import attr
from captum_xdnn.recording.threads import lock

METHODS: dict[str, Any] = {name: getattr(attr, name) for name in attr.__all__}
"""The classes that registration puts into ``captum.attr``, by name."""


_LOCK = lock()


def _alone(function: Callable[[], None]) -> Callable[[], None]:
    """A function that one thread at a time runs."""

    @functools.wraps(function)
    def call() -> None:
        with _LOCK:
            function()

    return call


@_alone
def register() -> None:
    """Make the methods of this package known to Captum; importing the package does it.

    ``captum.attr`` gets the classes and lists them in ``__all__``. With Captum 0.8, where
    ``captum.insights`` can be imported, its menu offers them too, with the settings of the
    class that each extends. Calling it again changes nothing.

    Example:
        >>> import captum.attr, captum_xdnn
        >>> captum_xdnn.register()
        >>> captum.attr.XIntegratedGradients is captum_xdnn.XIntegratedGradients
        True
    """
    menu = _insights()
    for name, method in METHODS.items():
        setattr(captum.attr, name, method)
        if name not in captum.attr.__all__:
            captum.attr.__all__.append(name)
        extended = next(base for base in method.__mro__ if base.__module__.startswith("captum."))
        if menu is None or extended not in menu.SUPPORTED_ATTRIBUTION_METHODS:
            continue  # the menu has no methods that explain layers or neurons
        if method not in menu.SUPPORTED_ATTRIBUTION_METHODS:
            menu.SUPPORTED_ATTRIBUTION_METHODS.append(method)
        menu.ATTRIBUTION_NAMES_TO_METHODS[method.get_name()] = method
        settings = menu.ATTRIBUTION_METHOD_CONFIG
        if extended.get_name() in settings:
            settings[method.get_name()] = settings[extended.get_name()]


@_alone
def unregister() -> None:
    """Undo :func:`register`; calling it again changes nothing.

    Example:
        >>> import captum.attr, captum_xdnn
        >>> captum_xdnn.unregister()
        >>> hasattr(captum.attr, "XIntegratedGradients")
        False
        >>> captum_xdnn.register()
    """
    menu = _insights()
    for name, method in METHODS.items():
        if getattr(captum.attr, name, None) is method:
            delattr(captum.attr, name)
        with suppress(ValueError):
            captum.attr.__all__.remove(name)
        if menu is not None:
            with suppress(ValueError):
                menu.SUPPORTED_ATTRIBUTION_METHODS.remove(method)
            menu.ATTRIBUTION_NAMES_TO_METHODS.pop(method.get_name(), None)
            menu.ATTRIBUTION_METHOD_CONFIG.pop(method.get_name(), None)


def _insights() -> Any:
    """The module with Captum Insights' menu, where it can be imported as things are."""
    with suppress(ImportError):
        return importlib.import_module("captum.insights.attr_vis.config")
    return None
