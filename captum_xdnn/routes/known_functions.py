"""What calls of a function showed: the certificates it was given, and those that it contradicted.

It is kept with the function and gone when that one is gone. Nothing here is evidence: every call is
watched anew, and what is kept only spares writing a report again.
"""

from __future__ import annotations

import types
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from captum_xdnn.proof.certificate import Certificate
from captum_xdnn.proof.verdict import Verdict
from captum_xdnn.recording.places import MadeOfAnother
from captum_xdnn.recording.threads import lock
from captum_xdnn.routes.kinds import looks_of
from captum_xdnn.routes.looks import Looks
from captum_xdnn.routes.sizes import Sizes, Spent

CONTRADICTIONS = 3
"""So many verdicts of one function may fail in use before it gets no more."""
MOST = 8
PATIENCE = 2
"""So many calls in a row are refused before not every one of them is looked at."""
MOST_LEFT = 256

_LOCK = lock()
_KNOWN: dict[int, tuple[Any, dict[Any, Memory]]] = {}
"""By the address of a function: a weak reference to it, and what is remembered of its parts."""


class Memory:
    """What is remembered of one function.

    Attributes:
        certificates: The certificate of each verdict, the last ones.
        contradictions: How many calls contradicted their verdicts.
        given_up: The refusal of every further call, after too many of these.
        confirmed: The verdicts that were seen to hold in the middle of the ray as well.
        remembers: Whether a run was seen to read what an earlier one had left.
        left: By address, what runs were given and have computed of that, as far as somebody has kept it.
        announced: The route that was told last.
        proved: For calls of a form that were proved, the verdict; used without a check only.
        forms: Forms of the calls whose certificate was written.
        keeps: For calls of a form that were hoisted, numbers of the values that the run has to keep.
        is_fast: Whether the last call took a fast route.
        rolls: Whether a run has drawn random numbers of Python's or NumPy's.
        changes: Whether a run has changed anything else of the user's that was noted.
        modes: In which mode each of its modules was when it ran last.
        sizes: What is known of passes of several sizes, for each verdict.
        spent: What looking for faster passes has cost.
        looks: What looks at functions of its kind have cost.
        undivided: How many calls are still left whole, after one that could not be divided.
        refusals: For forms of calls that were refused whenever they were looked at: how many calls
            there were, and what came of the last one that was looked at.
    """

    def __init__(self, looks: Looks | None = None) -> None:
        self.certificates: dict[Verdict, Certificate] = {}
        self.contradictions = 0
        self.given_up: Certificate | None = None
        self.confirmed: dict[Verdict, None] = {}
        self.left: dict[int, Any] = {}
        self.announced = ""
        self.proved: dict[Any, Verdict] = {}
        self.forms: set[Any] = set()
        self.keeps: dict[Any, frozenset[int]] = {}
        self.is_fast = self.rolls = self.changes = self.remembers = False
        self.modes: list[Any] | None = None
        self.sizes: weakref.WeakKeyDictionary[Verdict, Sizes] = weakref.WeakKeyDictionary()
        self.spent, self.looks, self.undivided = Spent(), looks or Looks(), 0
        self.refusals: dict[Any, tuple[int, Any]] = {}

    def keep(self, verdict: Verdict, certificate: Certificate) -> None:
        """Remember a certificate."""
        with _LOCK:
            if len(self.certificates) >= MOST:
                self.certificates.pop(next(iter(self.certificates)))
            self.certificates[verdict] = certificate

    def confirm(self, verdict: Verdict) -> None:
        """Note that a verdict was seen to hold in the middle of the ray."""
        if len(self.confirmed) >= MOST:
            self.confirmed.clear()
        self.confirmed[verdict] = None

    def prove(self, form: Any, verdict: Verdict) -> None:
        """Note the verdict on calls of a form, for those who want no check; None for no form."""
        if len(self.proved) >= 16 * MOST:
            self.proved.clear()
        if form is not None:
            self.proved[form] = verdict

    def reads_what_was_left(self, tensors: Iterable[Tensor]) -> bool:
        """Whether one of the tensors is what an earlier run has computed."""
        left = self.left
        return bool(left) and any(
            reference() is t for t in tensors if (reference := left.get(id(t))) is not None
        )

    def leave(self, references: Iterable[Any]) -> None:
        """Note what a run has computed from the inputs and somebody has kept."""
        found = {id(t): reference for reference in references if (t := reference()) is not None}
        with _LOCK:  # another thread's call may forget one as well
            self.left.update(found)
            if len(self.left) > MOST_LEFT:
                alive = [(address, r) for address, r in self.left.items() if r() is not None]
                self.left = dict(alive[-MOST_LEFT:])

    def refused(self, form: Any) -> Any:
        """What came of the last call of a form, if it was refused and this one need not be looked at.

        A refusal needs no proof: Captum's code is right whatever the function is by now. So after
        ``PATIENCE`` refused calls (twice as many, of what was fast) only every 16th is looked at; where it is no operation that
        refuses but what surrounds it (hooks, state), which goes as it comes, some before, too.
        """
        calls, outcome = self.refusals.get(form, (0, None))
        if calls < PATIENCE:
            return None
        self.refusals[form] = (calls + 1, outcome)
        looked_at = (calls + 1) % 16 == 0 or (outcome.refusal and calls + 1 in (3, 4, 8))
        return None if looked_at else outcome

    def last_refusal(self, form: Any) -> Any:
        """What came of the last refused call of a form; None without one."""
        return self.refusals.get(form, (0, None))[1]

    def note(self, form: Any, refusal: Any) -> None:
        """Note what came of a call that was looked at.

        Args:
            form: What tells calls apart whose refusals may differ.
            refusal: The outcome of a refused call; None for a call that was not.
        """
        if len(self.refusals) >= 16 * MOST:
            self.refusals.clear()
        calls, _ = self.refusals.get(form, (0, None))
        # What has been fast may soon be so again: twice as many of its refusals are looked at.
        calls = -PATIENCE if refusal is None else max(calls, min(calls + 1, PATIENCE))
        self.refusals[form] = (calls, refusal)

    def meet(self, form: Any) -> None:
        """Note that the certificate of calls of this form has been written."""
        if len(self.forms) >= 16 * MOST:
            self.forms.clear()
            self.keeps.clear()
        self.forms.add(form)

    def contradict(self, reason: str) -> None:
        """Note that a call contradicted its verdict."""
        self.contradictions += 1
        self.proved.clear()
        if self.contradictions >= CONTRADICTIONS:
            self.given_up = Certificate.contradicted(reason)


def memory_of(function: Callable[..., Any]) -> Memory:
    """What is remembered of a function; of its kind alone, for one that cannot be referred to weakly."""
    owner: Any = root_of(function)
    part: Any = function.key if isinstance(function, Derived) else None
    if type(owner) is types.MethodType:
        owner, part = owner.__self__, (owner.__func__.__qualname__, part)
    address = id(owner)
    known = _KNOWN.get(address)
    if known is None or known[0]() is not owner:
        try:
            made: tuple[Any, dict[Any, Memory]] = (
                weakref.ref(owner, lambda gone: _forget(address, gone)),
                {},
            )
        except TypeError:
            return Memory(_looks_of(function))
        with _LOCK:
            known = _KNOWN.get(address)
            if known is None or known[0]() is not owner:  # nobody else has come first
                known = _KNOWN[address] = made
    parts = known[1]
    memory = parts.get(part)
    if memory is None:
        looks = _looks_of(function)
        with _LOCK:
            if len(parts) >= 4 * MOST:
                parts.clear()
            memory = parts.setdefault(part, Memory(looks))
    return memory


def _looks_of(function: Any) -> Looks:
    if isinstance(function, Derived):
        return looks_of(root_of(function), function.layers, type(function))
    return looks_of(root_of(function))


def _forget(address: int, gone: Any) -> None:
    """A function is gone; another one may have its address by now."""
    # No lock: garbage is collected anywhere, also where another one is held.
    known = _KNOWN.get(address)
    if known is not None and known[0] is gone:
        _KNOWN.pop(address, None)


@dataclass(eq=False, repr=False)
class Derived(MadeOfAnother, ABC):
    """A function made of a base function and some of its layers."""

    base: Callable[..., Any]
    layers: tuple[nn.Module, ...]

    @property
    def key(self) -> Hashable:
        """Tells it from other functions that are made of the same one."""
        return (type(self), tuple(map(id, self.layers)), self.settings())

    @abstractmethod
    def settings(self) -> tuple[Any, ...]:
        """What it is made with beside the base function and the layers."""

    @abstractmethod
    def __call__(self, *args: Any) -> Any:
        """Compute it."""


def root_of(function: Any) -> Any:
    """The function that a function is made of in the end."""
    while issubclass(type(function), MadeOfAnother):  # a mock may say that it is anything
        function = function.base
    return function
