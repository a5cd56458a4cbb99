"""What all classes with fast routes share: a strategy, and what is known of the last call."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from captum_xdnn.errors import HomogeneityWarning
from captum_xdnn.routes.request import Outcome, Route

if TYPE_CHECKING:
    from captum_xdnn.proof.certificate import Certificate

Strategy = Literal["auto", "single_pass", "captum"]
STRATEGIES = ("auto", "single_pass", "captum")
LIBRARIES = ("captum", "captum_xdnn", "torch")
CONTRADICTED = (
    "the certificate did not hold in this call ({}); it is dropped and Captum's "
    "IntegratedGradients answers. Something acts on the call that the watched run does not "
    "show: a custom backward pass or hook, a part without gradients, work in another thread, a "
    "wrong rule, or examples of a batch that influence each other."
)


def warn_if_contradicted(outcome: Outcome) -> None:
    """Warn that a certificate was dropped, at the line of the user's own code.

    Captum calls some methods through others, so the number of frames between here and the user is
    not always the same.
    """
    if not outcome.contradicted:
        return
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_back is not None and _is_a_librarys(frame.f_globals):
        frame, level = frame.f_back, level + 1
    warnings.warn(CONTRADICTED.format(outcome.refusal), HomogeneityWarning, stacklevel=level)


def _is_a_librarys(namespace: dict[str, Any]) -> bool:
    return str(namespace.get("__name__")).partition(".")[0] in LIBRARIES


def is_captums(method: Any, kind: type, name: str) -> bool:
    """Whether a method of an object is that of Captum's class, or ours, replaced in no subclass or object."""
    found = getattr(method, name)
    return getattr(found, "__func__", None) is getattr(kind, name) and found.__self__ is method


class Routed:
    """Keeps the strategy of an object, and the route and the certificate of its last call."""

    # Of the class, for subclasses that set Captum's attributes themselves.
    strategy: Strategy = "auto"
    verify: bool = True
    max_memory: int | None = None
    _last: tuple[Route | None, Certificate | None] = (None, None)
    _checked: tuple[Route | None, Certificate | None] = (None, None)

    def __init__(
        self, *captums: Any, strategy: Strategy, verify: bool, max_memory: int | None
    ) -> None:
        super().__init__(*captums)
        if strategy not in STRATEGIES:
            message = f"strategy must be one of {', '.join(STRATEGIES)}, found {strategy!r}"
            raise ValueError(message)
        self.strategy = strategy
        self.verify = verify
        if max_memory is not None and (type(max_memory) is not int or max_memory < 1):
            message = f"max_memory must be a positive number of bytes or None, found {max_memory!r}"
            raise ValueError(message)
        self.max_memory = max_memory

    @property
    def last_route(self) -> Route | None:
        """The route of the last call: ``"single_pass"``, ``"hoisted"``, ``"captum"``; None before any."""
        return self._last[0]

    @property
    def certificate(self) -> Certificate | None:
        """The certificate of the last call; None if none was asked for."""
        return self._last[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": (None, None), "_checked": (None, None)}


class OfLayer(Routed):
    """The arguments of Captum's classes that explain a layer."""

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module,
        device_ids: list[int] | None = None,
        *,
        strategy: Strategy = "auto",
        verify: bool = True,
        max_memory: int | None = None,
    ) -> None:
        captums = (forward_func, layer, device_ids)
        super().__init__(*captums, strategy=strategy, verify=verify, max_memory=max_memory)


class OfNeuron(Routed):
    """The arguments of Captum's classes that explain a neuron by the inputs."""

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
        *,
        strategy: Strategy = "auto",
        verify: bool = True,
        max_memory: int | None = None,
    ) -> None:
        captums = (forward_func, layer, device_ids, multiply_by_inputs)
        super().__init__(*captums, strategy=strategy, verify=verify, max_memory=max_memory)
