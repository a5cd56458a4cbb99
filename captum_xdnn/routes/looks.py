"""What looking at functions may cost: those that were refused whenever they were, and those proved anew each time."""

from __future__ import annotations

from typing import Any

FIRST = 2
"""So many looks are made whatever they cost."""
FREE = 0.25
"""So many seconds further ones may cost in any case."""
SHARE = 0.05
"""Of the time that calls take, what they may cost beyond."""
STEADY = 8
"""After so many calls in a row that needed no new proof, those before are forgotten."""
MOST = 64


class Looks:
    """Looks at calls of new forms, and at new functions, and what they cost beside what calls took.

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
        self._proofs: dict[int, Proofs] = {}

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

    def proofs(self, form: Any) -> Proofs:
        """The new proofs of calls of a form."""
        key = hash(form)
        found = self._proofs.get(key)
        if found is None:
            if len(self._proofs) >= MOST:
                self._proofs.clear()
            found = self._proofs[key] = Proofs()
        return found


class Proofs:
    """New proofs of calls of one form, of what runs otherwise in each: by a number that the user changes.

    Once they have cost something, Captum's code is timed, twice; where that is faster, it answers, and what a new
    proof costs beyond it is counted as looks are. Two calls in a row are looked at then: only the second
    shows whether the number stands still by now.
    """

    def __init__(self) -> None:
        self.certificate: Any = None
        self._count = self._steady = self._timed = 0
        self._once_more = False
        self._lost = self._taken = 0.0
        self._ours = self._theirs = float("inf")

    def are_worth_it(self) -> bool:
        """Whether another call may need a new proof."""
        if self._steady or self._count < FIRST or self._lost <= FREE:
            return True
        if self._timed < FIRST:  # one call may be slow by chance
            return False
        loss = self._ours - self._theirs
        affordable = loss * (self._count + 2) <= FREE + SHARE * self._taken
        self._once_more, again = affordable and not self._once_more, self._once_more
        return affordable or again

    def note(self, certificate: Any, seconds: float, *, is_new: bool) -> None:
        """Note a call that was fast, and what it took."""
        if not is_new:
            self._steady += 1
            if self._steady >= STEADY:
                self._count, self._lost = 0, 0.0
            return
        self.certificate, self._steady = certificate, 0
        self._lost, self._count = self._lost + seconds, self._count + 1
        self._ours = min(self._ours, seconds)

    def took(self, seconds: float) -> None:
        """Note what Captum's code took."""
        self._taken, self._timed = self._taken + seconds, self._timed + 1
        self._theirs = min(self._theirs, seconds)
