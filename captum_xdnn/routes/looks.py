"""Which calls of new forms are looked at, of a function that was refused whenever it was."""

from __future__ import annotations

from typing import Any

FIRST = 2
"""So many forms are looked at whatever that costs."""
FREE = 0.25
"""So many seconds looks at further forms may cost in any case."""
SHARE = 0.05
"""Of the time that a function's calls take, what they may cost beyond."""


class Looks:
    """Looks at calls of new forms, and what they cost beside what calls took.

    A text of another length is another run: it is watched and proved anew. Where nothing was fast in
    any of them, a further one will hardly be, and Captum's code needs no proof. A call that is twice
    as large as all before is looked at, for its passes may have to be divided; so is one of a network
    in another mode.
    """

    def __init__(self) -> None:
        self.refusal: Any = None
        self._taken = self._lost = 0.0
        self._count = self._largest = 0
        self._mode: Any = None

    def known(self, size: int, mode: Any) -> Any:
        """What came of the last look, where one at a call of so many numbers costs too much; else None."""
        if self._count < FIRST or mode is not self._mode or size > 2 * self._largest:
            return None
        worth = self._lost + self._lost / self._count <= FREE + SHARE * self._taken
        return None if worth else self.refusal

    def note(self, refusal: Any, seconds: float, size: int, mode: Any) -> None:
        """Note what came of a look, and what it took."""
        self.refusal, self._mode = refusal, mode
        self._lost, self._count = self._lost + seconds, self._count + 1
        self._largest = max(size, self._largest)

    def forget(self) -> None:
        """Begin again: something was fast."""
        self._count = 0
        self._lost = 0.0

    def took(self, seconds: float) -> None:
        """Note what a call took."""
        self._taken += seconds
