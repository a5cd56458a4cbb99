"""Which of two ways is faster: predicted from counted work, then measured."""

from __future__ import annotations

import math
from typing import Any

from captum_xdnn.proof.verdict import Verdict
from captum_xdnn.routes.captum import Quadrature

CERTAIN = 4.0
"""A predicted speed-up that needs no measurement of Captum's own time."""


class Choice:
    """What calls of one form took by each way: seconds, the least of each."""

    def __init__(self) -> None:
        self.rehearsed = False
        self._hoisted = self._captum = math.inf
        self._calls = 0
        self._forbidden = False

    def hoist(self, predicted: float) -> bool:
        """Whether to hoist this call.

        The first call is hoisted if that promises to pay; where the promise is small, Captum's way
        is timed in the second, and from the third on the faster one is taken.
        """
        if self._forbidden:
            return False
        self._calls += 1
        if predicted >= CERTAIN or self._calls == 1:
            return True
        if self._captum == math.inf:
            return False
        return self._hoisted < self._captum

    def forbid(self) -> None:
        """Hoist no more: the recorded operations cannot stand for the function."""
        self._forbidden = True

    def note_hoisted(self, seconds: float) -> None:
        """Note what a hoisted call took."""
        self._hoisted = min(self._hoisted, seconds)

    def note_captum(self, seconds: float) -> None:
        """Note what a call by Captum's own code took."""
        self._captum = min(self._captum, seconds)


def choice_of(verdict: Verdict, quadrature: Quadrature, *, create_graph: bool) -> Choice:
    """What is known of calls of this structure, rule and number of steps."""
    key: Any = (
        quadrature.n_steps,
        quadrature.method,
        quadrature.internal_batch_size,
        create_graph,
    )
    choices: dict[Any, Choice] = verdict.kept.setdefault("choices", {})
    if len(choices) > 64:
        choices.clear()
    return choices.setdefault(key, Choice())
