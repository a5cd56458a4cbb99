"""What all classes with fast routes share: a strategy, and what is known of the last call."""

from __future__ import annotations

import inspect
import itertools
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from captum_xdnn.errors import HomogeneityWarning
from captum_xdnn.routes.request import Outcome, Route

if TYPE_CHECKING:
    from captum_xdnn.proof.certificate import Certificate
    from captum_xdnn.routes.refinement import Taken

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
    """Warn that a certificate was dropped, at the line of the user's own code."""
    if outcome.contradicted:
        message = CONTRADICTED.format(outcome.refusal)
        warnings.warn(message, HomogeneityWarning, stacklevel=level_of_the_user())


def level_of_the_user() -> int:
    """The ``stacklevel`` at which a function warns at the line of the user's own code.

    Captum calls some methods through others, so the number of frames between here and the user is
    not always the same.
    """
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_back is not None and is_a_librarys(frame.f_globals):
        frame, level = frame.f_back, level + 1
    return level


def is_a_librarys(namespace: dict[str, Any]) -> bool:
    """Whether a module's names are those of a library that stands between the user and a call."""
    return str(namespace.get("__name__")).partition(".")[0] in LIBRARIES


def is_captums(method: Any, kind: type, name: str) -> bool:
    """Whether a method of an object is that of Captum's class, or ours, replaced in no subclass or object."""
    found = getattr(method, name)
    return getattr(found, "__func__", None) is getattr(kind, name) and found.__self__ is method


def of_class(certificate: Certificate | None, method: object) -> Certificate | None:
    """A certificate in the name of the class whose call it is of."""
    captums = (kind for kind in type(method).__mro__ if kind.__module__.startswith("captum."))
    kind = next(captums, None)
    return (
        certificate if certificate is None or kind is None else certificate.but("", kind.__name__)
    )


class LastCall:
    """What the last call of an object in one thread has left."""

    last: tuple[Route | None, Certificate | None] = (None, None)
    checked: tuple[Route | None, Certificate | None] = (None, None)
    outputs: Tensor | None = None
    taken: Taken | None = None


class Calls:
    """The last call of an object, for each of the threads that use it."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._latest = LastCall()
        self._threads = itertools.count()
        self._several = False

    def here(self) -> LastCall:
        """The last call in this thread, to be written."""
        found: LastCall | None = self._local.__dict__.get("found")
        if found is None:
            found = self._local.found = LastCall()
            if next(self._threads):
                self._several = True
        self._latest = found
        return found

    def seen(self) -> LastCall:
        """The last call in this thread, or if it has made none, in any."""
        found: LastCall = self._local.__dict__.get("found", self._latest)
        return found

    def is_told_apart(self) -> bool:
        """Whether this thread has made a call, or there is one alone that has."""
        return "found" in self._local.__dict__ or not self._several


class Routed:
    """Keeps the strategy of an object, and the route and the certificate of its last call."""

    # Of the class, for subclasses that set Captum's attributes themselves.
    strategy: Strategy = "auto"
    verify: bool = True
    max_memory: int | None = None

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

    def _calls_of(self) -> Calls:
        """What the calls have left."""
        found: Calls | None = self.__dict__.get("_calls")
        return self.__dict__.setdefault("_calls", Calls()) if found is None else found

    @property
    def last_route(self) -> Route | None:
        """The route of the last call: ``"single_pass"``, ``"hoisted"``, ``"captum"``; None before any.

        Of the last call in this thread; in a thread that has made none, of the last in any.
        """
        return self._calls_of().seen().last[0]

    @property
    def certificate(self) -> Certificate | None:
        """The certificate of the last call (in this thread, as above); None if none was asked for."""
        return of_class(self._calls_of().seen().last[1], self)

    def _note(self, route: Route | None, certificate: Certificate | None) -> None:
        self._calls_of().here().last = (route, certificate)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_calls"}


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
