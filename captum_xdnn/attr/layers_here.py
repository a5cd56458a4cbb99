"""Layers for Captum's code, whose hooks leave alone what other threads compute by the same network."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from captum_xdnn._captum import IntegratedGradients, LayerIntegratedGradients, log_usage
from captum_xdnn.attr.base import Routed, is_a_librarys
from captum_xdnn.recording.watch import is_watched

M = TypeVar("M")


class LayerHere(nn.Module):
    """A layer for one call of Captum's: the hooks that are put on it act in the thread that calls.

    Captum's own act in every thread that runs the layer: they take the values of another call for those
    of theirs, and exchange what others compute. A function may run its network in threads of its own,
    so they act in every thread until the layer has run in the one that calls.
    """

    def __init__(self, layer: nn.Module) -> None:
        # No state of a module: all that is asked of it is the layer's.
        self.__dict__.update(layer=layer, thread=threading.get_ident(), ran=False)
        self.__dict__["lock"] = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["layer"], name)

    def register_forward_hook(self, hook: Callable[..., Any], **options: Any) -> Any:
        """Put a hook on the layer, as torch does."""
        return self.__dict__["layer"].register_forward_hook(self._here(hook), **options)

    def register_forward_pre_hook(self, hook: Callable[..., Any], **options: Any) -> Any:
        """Put a hook before the layer, as torch does."""
        return self.__dict__["layer"].register_forward_pre_hook(self._here(hook), **options)

    def _here(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        def act(*values: Any) -> Any:
            here = threading.get_ident() == self.thread
            if not here and (
                self.ran or is_watched()
            ):  # what is watched there is a call of its own
                return None
            if self.ran:
                return hook(*values)
            with self.lock:  # whoever was first has ended before the values of this thread come
                if not here and self.ran:
                    return None
                self.__dict__["ran"] = here
                return hook(*values)

        return act


def layers_here(layers: Any) -> Any:
    """A layer, or a list of layers, for one call of Captum's."""
    if isinstance(layers, list):
        return [layers_here(layer) for layer in layers]
    return LayerHere(layers) if isinstance(layers, nn.Module) else layers


def layers_of(layers: Any) -> tuple[nn.Module, ...]:
    """The layers themselves."""
    found = layers if isinstance(layers, list) else [layers]
    return tuple(each.__dict__["layer"] if type(each) is LayerHere else each for each in found)


def for_one_call(method: M) -> M:
    """An object of Captum's that explains a layer, for one call: Captum's code notes on it what is the call's."""
    found = _copy(method)
    of_object = found.__dict__
    of_object["layer"] = layers_here(of_object.get("layer"))
    inner = of_object.get("ig")
    if isinstance(inner, IntegratedGradients):
        of_object["ig"] = _copy(inner)
    return found


def _copy(thing: M) -> M:
    """A shallow copy, without what a class may say of copies; what its calls leave is seen on both."""
    if isinstance(thing, Routed):
        thing._calls_of()
    found: M = object.__new__(type(thing))
    found.__dict__.update(thing.__dict__)
    return found


_captums: Callable[..., Any] = LayerIntegratedGradients.attribute.__wrapped__


@log_usage
@functools.wraps(_captums, updated=())
def attribute_layer_here(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: D103 - Captum's
    # A method of the user's may note on the object what is to stay there.
    librarys = is_a_librarys(getattr(self._make_gradient_func, "__globals__", {}))
    return _captums(for_one_call(self) if librarys else self, *args, **kwargs)
