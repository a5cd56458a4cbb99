"""One batch of a data set: its records, and which samples are set aside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from captum_xdnn.dataset.computing import BROKEN, Computation, Inputs, Part
from captum_xdnn.dataset.records import SCALARS, Records, Reject
from captum_xdnn.dataset.screening import flaws_of_inputs, flaws_of_labels
from captum_xdnn.dataset.settings import Settings
from captum_xdnn.dataset.together import Batch
from captum_xdnn.errors import first_line

HOPELESS = 32
"""So many samples may fail, one after the other, before any has been attributed."""


class Attributing:
    """Attributes batches, sets aside samples that cannot be, and goes on with the others.

    Args:
        settings: How samples are attributed.
        worked: Whether samples of this data set have been attributed before, in an earlier run or
            another process; what fails then fails for its samples, not for all.
        shapes: The shapes of one sample's inputs, where they are known.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        worked: bool = False,
        shapes: Sequence[tuple[int, ...]] | None = None,
    ) -> None:
        self.settings = settings
        #: The shapes of the first sample's inputs that was attributed.
        self.shapes = shapes
        self._computation = Computation(settings)
        self._outputs: int | None = None
        self._worked = worked or shapes is not None
        self._failures = 0

    def __call__(self, batch: Batch) -> tuple[list[Records], list[Reject]]:
        """Attribute a batch; samples that cannot be are set aside.

        Returns:
            Records, and the samples set aside; together each sample of the batch once.

        Raises:
            Exception: What the method raised, where nothing at all can be attributed.
        """
        try:
            inputs, labels = self.settings.unpacked(batch.data, len(batch.ids))
            pairs = zip(flaws_of_inputs(inputs), self._label_flaws(inputs, labels), strict=True)
        except (TypeError, ValueError) as error:
            # Samples that were put together are of one form: several of a wrong one are no accident.
            if self._hopeless(len(batch.ids)) or (len(batch.ids) > 1 and not self._worked):
                raise
            return [], [Reject(i, first_line(error)) for i in batch.ids]
        flaws = [of_input or of_label for of_input, of_label in pairs]
        rejects = [Reject(i, flaw) for i, flaw in zip(batch.ids, flaws, strict=True) if flaw]
        good = [place for place, flaw in enumerate(flaws) if not flaw]
        if not good:
            return [], rejects
        records, more = self._attributed(Part(batch.ids, inputs, labels).rows(good))
        return records, rejects + more

    def _attributed(self, part: Part) -> tuple[list[Records], list[Reject]]:
        try:
            return self._kept(part)
        except BROKEN:
            raise
        except Exception as error:
            if len(part.ids) > 1:
                return self._one_by_one(part)
            if self._hopeless(1):
                raise
            return [], [Reject(part.ids[0], self._why(part, error))]

    def _hopeless(self, failures: int) -> bool:
        """Count failures, and say whether it is the run that is wrong."""
        self._failures += failures
        return not self._worked and self._failures >= HOPELESS

    def _one_by_one(self, part: Part) -> tuple[list[Records], list[Reject]]:
        """Find out which samples a batch fails for, and attribute the others together."""
        rejects: list[Reject] = []
        good = []
        for place in range(len(part.ids)):
            records, set_aside = self._attributed(part.rows([place]))
            rejects += set_aside
            if records:
                good.append(place)
        if not good:
            return [], rejects
        records, more = self._kept(part.rows(good))
        return records, rejects + more

    def _why(self, part: Part, error: Exception) -> str:
        shapes = _shapes(part)
        reason = first_line(error)
        if self.shapes is None or shapes == self.shapes:
            return reason
        found, usual = (", ".join(map(str, s)) for s in (shapes, self.shapes))
        return f"input of shape {found}, others have {usual}: {reason}"

    def _kept(self, part: Part) -> tuple[list[Records], list[Reject]]:
        """The records of a part whose attributions are finite, the other samples set aside."""
        records = self._computation.records(part)
        self._worked, self.shapes = True, self.shapes or _shapes(part)
        finite = np.isfinite(records.columns["output"])
        for name, column in records.columns.items():
            if name not in SCALARS:
                finite &= np.isfinite(column).reshape(len(column), -1).all(1)
        if finite.all():
            return [records], []
        rejects = [
            Reject(i, "the output or an attribution is not finite")
            for i, fine in zip(part.ids, finite, strict=True)
            if not fine
        ]
        if not finite.any():
            return [], rejects
        return [Records({n: c[finite] for n, c in records.columns.items()})], rejects

    def _label_flaws(self, inputs: Inputs, labels: Any) -> list[str]:
        if self.settings.target != "label":
            return [""] * len(inputs[0])
        if labels is None:
            message = "the loader gives no labels: target='predicted', or an index for all"
            raise ValueError(message)
        if self._outputs is None:
            self._outputs = self._computation.count_outputs(inputs)
        return flaws_of_labels(labels, len(inputs[0]), self._outputs)


def _shapes(part: Part) -> list[tuple[int, ...]]:
    return [tuple(x.shape[1:]) for x in part.inputs]
