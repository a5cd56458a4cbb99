"""Batches of a data set: their records, and which samples are set aside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from captum_xdnn.dataset.computing import BROKEN, Computation, Inputs
from captum_xdnn.dataset.loading import Batch, Fetched
from captum_xdnn.dataset.records import SCALARS, Outcome, Records, Reject
from captum_xdnn.dataset.settings import Settings
from captum_xdnn.errors import first_line

HOPELESS = 32
"""So many samples may fail, one after the other, before any has been attributed."""


class Attributing:
    """Attributes batches, sets aside samples that cannot be, and goes on with the others.

    What fails, fails for its samples and not for all where others of the data set have been
    attributed before: here, in an earlier run (``worked``), or in another process, which has told
    the ``shapes`` of one sample's inputs.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        worked: bool = False,
        shapes: Sequence[tuple[int, ...]] | None = None,
    ) -> None:
        self._settings = settings
        #: The shapes of the first sample's inputs that was attributed.
        self.shapes = shapes
        self._computation = Computation(settings)
        self._outputs: int | None = None
        self._worked = worked or shapes is not None
        self._failures = 0

    def __call__(self, fetched: Fetched) -> Outcome:
        """Attribute what was fetched; raise where nothing at all can be attributed."""
        outcome = [self._screened(batch) for batch in fetched.batches]
        rejects = [reject for _, set_aside in outcome for reject in set_aside]
        return [r for found, _ in outcome for r in found], [*fetched.rejects, *rejects]

    def _screened(self, batch: Batch) -> Outcome:
        """Attribute the samples that nothing is wrong with at sight."""
        try:
            inputs, labels = self._settings.unpacked(batch.data, len(batch.ids))
            of_inputs, of_labels = _flaws_of_inputs(inputs), self._label_flaws(inputs, labels)
        except (TypeError, ValueError) as error:
            # Samples that were put together are of one form: several of a wrong one are no accident.
            if self._hopeless(len(batch.ids)) or (len(batch.ids) > 1 and not self._worked):
                raise
            return [], [Reject(i, first_line(error)) for i in batch.ids]
        if not self._worked and self._settings.target == "label":
            _refuse_what_is_no_target(labels.tolist(), of_labels, self._outputs)
        flaws = [one or other for one, other in zip(of_inputs, of_labels, strict=True)]
        rejects = [Reject(i, flaw) for i, flaw in zip(batch.ids, flaws, strict=True) if flaw]
        good = [place for place, flaw in enumerate(flaws) if not flaw]
        if not good:
            return [], rejects
        records, more = self._attributed(Batch(batch.ids, (inputs, labels)).rows(good))
        return records, rejects + more

    def _label_flaws(self, inputs: Inputs, labels: Any) -> list[str]:
        if self._settings.target != "label":
            return [""] * len(inputs[0])
        if labels is None:
            raise ValueError("the loader gives no labels: target='predicted', or an index for all")
        if self._outputs is None:
            self._outputs = self._computation.count_outputs(inputs)
        return _flaws_of_labels(labels, len(inputs[0]), self._outputs)

    def _attributed(self, batch: Batch) -> Outcome:
        """Attribute samples together; find out, one by one, for which of them that fails."""
        try:
            return self._kept(batch)
        except BROKEN:
            raise
        except Exception as error:
            if len(batch.ids) == 1:
                if self._hopeless(1):
                    raise
                return [], [Reject(batch.ids[0], self._why(batch, error))]
        alone = [self._attributed(batch.rows([place])) for place in range(len(batch.ids))]
        rejects = [reject for _, set_aside in alone for reject in set_aside]
        good = [place for place, (records, _) in enumerate(alone) if records]
        if not good:
            return [], rejects
        records, more = self._kept(batch.rows(good))
        return records, rejects + more

    def _hopeless(self, failures: int) -> bool:
        """Count failures, and say whether it is the run that is wrong."""
        self._failures += failures
        return not self._worked and self._failures >= HOPELESS

    def _why(self, batch: Batch, error: Exception) -> str:
        shapes = _shapes(batch)
        reason = first_line(error)
        if self.shapes is None or shapes == self.shapes:
            return reason
        found, usual = (", ".join(map(str, s)) for s in (shapes, self.shapes))
        return f"input of shape {found}, others have {usual}: {reason}"

    def _kept(self, batch: Batch) -> Outcome:
        """The records of samples whose attributions are finite, the others set aside."""
        records = self._computation.records(batch)
        self._worked, self.shapes = True, self.shapes or _shapes(batch)
        finite = np.isfinite(records.columns["output"])
        for name, column in records.columns.items():
            if name not in SCALARS:
                finite &= np.isfinite(column).reshape(len(column), -1).all(1)
        if finite.all():
            return [records], []
        reason = "the output or an attribution is not finite"
        rejects = [Reject(i, reason) for i, fine in zip(batch.ids, finite, strict=True) if not fine]
        kept = Records({name: column[finite] for name, column in records.columns.items()})
        return [kept] if len(kept) else [], rejects


def _shapes(batch: Batch) -> list[tuple[int, ...]]:
    inputs, _ = batch.data
    return [tuple(x.shape[1:]) for x in inputs]


def _flaws_of_inputs(inputs: Inputs) -> list[str]:
    """For each sample what is wrong with its inputs; empty where nothing is."""
    flaws = [""] * len(inputs[0])
    for tensor in inputs:
        if not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        rows = tensor.reshape(len(tensor), -1)
        for place in (~rows.isfinite().all(1)).nonzero().flatten().tolist():
            nans, infinite = int(rows[place].isnan().sum()), int(rows[place].isinf().sum())
            flaws[place] = f"input is not finite: {nans} NaN, {infinite} infinite"
    return flaws


def _flaws_of_labels(labels: Any, size: int, outputs: int | None) -> list[str]:
    """For each sample what is wrong with its label; empty where nothing is."""
    if not isinstance(labels, Tensor) or labels.shape != (size,) or labels.is_complex():
        found = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(f"labels must be a tensor of shape ({size},), found {found}")
    return [_flaw_of_label(number, outputs) for number in labels.tolist()]


def _refuse_what_is_no_target(labels: list[Any], flaws: list[str], outputs: int | None) -> None:
    """Stop where labels are values, such as those of a regression, and no indices of outputs."""
    finite = [(n, flaw) for n, flaw in zip(labels, flaws, strict=True) if math.isfinite(n)]
    values = [
        flaw for n, flaw in finite if isinstance(n, bool) or n != int(n) or (outputs == 1 and n)
    ]
    if values and (outputs == 1 or all(flaws)):
        raise ValueError(
            f"{values[0]}, and labels are taken as targets: give target=0 for the first output, "
            "target=None where a sample has no more than a number, or target='predicted'; labels "
            "are left out then"
        )


def _flaw_of_label(number: float, outputs: int | None) -> str:
    """A negative label is none: Captum would explain an output counted from the end."""
    if isinstance(number, bool) or not math.isfinite(number) or number != int(number):
        return f"label {number} is no index of an output"
    if number < 0 or (outputs is not None and number >= outputs):
        among = "" if outputs is None else f" among {outputs}"
        return f"label {int(number)} is no index of an output{among}"
    return ""
