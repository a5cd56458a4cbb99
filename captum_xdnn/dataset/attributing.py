"""Batches of a data set: the records of their samples, and which are set aside."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum_xdnn._captum import select_targets
from captum_xdnn.dataset.ids import id_array
from captum_xdnn.dataset.loading import Batch, Fetched
from captum_xdnn.dataset.records import NONE, SCALARS, Outcome, Records, Reject
from captum_xdnn.dataset.settings import Settings
from captum_xdnn.errors import XDNNError, first_line, is_of_the_device

Inputs = tuple[Tensor, ...]

BROKEN = (MemoryError, torch.OutOfMemoryError, XDNNError, Warning)
"""What is wrong with the run and not with a sample, as far as types say it."""

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
        self._error: Exception | None = None

    def __call__(self, fetched: Fetched) -> Outcome:
        """Attribute what was fetched; raise where nothing at all can be attributed."""
        outcome = [self._screened(batch) for batch in fetched.batches]
        rejects = [reject for _, set_aside in outcome for reject in set_aside]
        return [r for found, _ in outcome for r in found], [*fetched.rejects, *rejects]

    def finish(self) -> None:
        """Raise what the samples were set aside for where nothing at all could be attributed."""
        if self._error is not None and not self._worked:
            raise self._error

    def _screened(self, batch: Batch) -> Outcome:
        """Attribute the samples that nothing is wrong with at sight."""
        try:
            inputs, labels = self._settings.unpacked(batch.data, len(batch.ids))
            of_inputs, of_labels = _flaws_of_inputs(inputs), self._label_flaws(inputs, labels)
        except (TypeError, ValueError) as error:
            # Samples that were put together are of one form: several of a wrong one are no accident.
            if self._hopeless(error, len(batch.ids)) or (len(batch.ids) > 1 and not self._worked):
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
        """For each sample what is wrong with its label; empty where nothing is."""
        size = len(inputs[0])
        if self._settings.target != "label":
            return [""] * size
        if labels is None:
            raise ValueError("the loader gives no labels: target='predicted', or an index for all")
        if self._outputs is None:
            self._outputs = self._computation.count_outputs(inputs)
        if not isinstance(labels, Tensor) or labels.shape != (size,) or labels.is_complex():
            found = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
            raise TypeError(f"labels must be a tensor of shape ({size},), found {found}")
        return [_flaw_of_label(number, self._outputs) for number in labels.tolist()]

    def _attributed(self, batch: Batch) -> Outcome:
        """Attribute samples together; find out, one by one, for which of them that fails."""
        try:
            return self._kept(batch)
        except BROKEN:
            raise
        except Exception as error:
            if is_of_the_device(error):
                raise
            if len(batch.ids) == 1:
                if self._hopeless(error, 1):
                    raise
                return [], [Reject(batch.ids[0], self._why(batch, error))]
        alone = [self._attributed(batch.rows([place])) for place in range(len(batch.ids))]
        rejects = [reject for _, set_aside in alone for reject in set_aside]
        good = [place for place, (records, _) in enumerate(alone) if records]
        if not good:
            return [], rejects
        records, more = self._kept(batch.rows(good))
        return records, rejects + more

    def _hopeless(self, error: Exception, failures: int) -> bool:
        """Count failures, and say whether it is the run that is wrong."""
        if self._worked:
            return False
        self._error, self._failures = error, self._failures + failures
        return self._failures >= HOPELESS

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
        self._worked, self._error = True, None
        self.shapes = self.shapes or _shapes(batch)
        finite = np.isfinite(records.columns["output"])
        for column in (c for name, c in records.columns.items() if name not in SCALARS):
            finite &= np.isfinite(column).reshape(len(column), -1).all(1)
        if finite.all():
            return [records], []
        reason = "the output or an attribution is not finite"
        rejects = [Reject(i, reason) for i, fine in zip(batch.ids, finite, strict=True) if not fine]
        kept = Records({name: column[finite] for name, column in records.columns.items()})
        return [kept] if len(kept) else [], rejects


class Computation:
    """One call of the method, its outputs, the gaps; what it learns of the function at the first call holds for all."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._method = settings, settings.method
        self._baselines = settings.at_device(settings.baselines)
        self._start: Tensor | None = None

    def records(self, batch: Batch) -> Records:
        """Attribute samples together, whose data are a tuple of inputs and the labels."""
        tensors, labels = batch.data
        settings, method, size = self._settings, self._method, len(batch.ids)
        inputs = tuple(map(self._leaf, settings.at_device(tensors)))
        target: Any = settings.target
        outputs = self._forward(inputs) if target == "predicted" else None
        if target == "label":
            target = labels.to(inputs[0].device, torch.int64)
        elif outputs is not None:
            target = outputs.argmax(1)
        attributions = self._attributions(inputs, target)
        wrong = [tuple(a.shape) for a in attributions if a.shape[:1] != (size,)]
        if wrong:
            raise ValueError(f"{size} samples, but attributions of shape {wrong[0]}")
        if outputs is None:
            outputs = getattr(method, "last_outputs", None)
        if outputs is None:
            outputs = self._forward(inputs)

        def column(value: Tensor | int) -> Any:
            return torch.as_tensor(value).expand(size).cpu().numpy()

        explained = select_targets(outputs, target).double().reshape(size, -1).sum(1)
        classes = outputs.dim() == 2 and outputs.shape[1] > 1
        route = getattr(method, "last_route", None) or type(method).__name__
        return Records(
            {
                "id": id_array(batch.ids),
                "target": column(_index_of(target, outputs)),
                "prediction": column(outputs.argmax(1) if classes else NONE),
                "output": column(explained),
                "route": np.full(size, route),
                "completeness_gap": column(self._gaps(attributions, outputs, inputs, target)),
                **settings.reduce(attributions),
            }
        )

    def _leaf(self, tensor: Tensor) -> Tensor:
        """An input as the method expects it: Captum's gradients warn of one that requires none."""
        as_it_is = hasattr(self._method, "last_route") or not tensor.is_floating_point()
        return tensor if as_it_is else tensor.detach().requires_grad_()

    def _attributions(self, inputs: Inputs, target: Any) -> Inputs:
        chosen = {"target": target, "baselines": self._baselines}
        chosen = {name: value for name, value in chosen.items() if value is not None}
        arguments = {**self._settings.arguments, **chosen}
        with self._settings.precision():
            given = inputs if len(inputs) > 1 else inputs[0]
            found = self._method.attribute(given, **arguments)
        return tuple(a.detach() for a in (found if isinstance(found, tuple) else (found,)))

    def _gaps(self, attributions: Inputs, outputs: Tensor, inputs: Inputs, target: Any) -> Tensor:
        """Each sample's sum less ``F(x) - F(b)``; one NaN where a method promises no completeness."""
        none = torch.tensor(torch.nan, dtype=torch.float64)
        promised = getattr(self._method, "has_convergence_delta", bool)()
        if not (promised and getattr(self._method, "multiplies_by_inputs", True)):
            return none
        given = self._baselines
        starts = given if isinstance(given, tuple) else (given,) * len(inputs)
        if any(isinstance(b, Tensor) and len(b) != 1 for b in starts):
            return none  # a distribution of baselines: no one F(b)
        if self._start is None:
            zeros = (torch.zeros_like(x[:1]) for x in inputs)
            start = (z + (0 if b is None else b) for z, b in zip(zeros, starts, strict=True))
            self._start = self._forward(tuple(start))
        size = len(outputs)
        ends = (outputs, self._start.expand(size, *self._start.shape[1:]))
        here, there = (select_targets(end, target).double().reshape(size, -1) for end in ends)
        sums = [a.reshape(len(a), -1).double().sum(1).cpu() for a in attributions]
        gained: Tensor = (here - there).sum(1).cpu()
        return torch.stack(sums).sum(0) - gained

    def _forward(self, inputs: Inputs) -> Tensor:
        further = self._settings.arguments.get("additional_forward_args")
        further = further if isinstance(further, tuple) else (further,)
        with torch.no_grad(), self._settings.precision():
            outputs: Tensor = self._method.forward_func(
                *inputs, *(() if further == (None,) else further)
            )
        return outputs

    def count_outputs(self, inputs: Inputs) -> int | None:
        """How many outputs a label can name; None while no sample tells."""
        for place in range(len(inputs[0])):
            one = tuple(x[place : place + 1].to(self._settings.device) for x in inputs)
            try:
                outputs = self._forward(one)
            except BROKEN:
                raise
            except Exception as error:
                if is_of_the_device(error):
                    raise
                continue
            return outputs.shape[1] if outputs.dim() > 1 else None
        return None


def _index_of(target: Any, outputs: Tensor) -> Tensor | int:
    """The index of the explained output, from the first one; ``NONE`` where it is not one number."""
    target = target[0] if isinstance(target, tuple) and len(target) == 1 else target
    known = isinstance(target, Tensor | int) and outputs.dim() > 1
    return target % outputs.shape[1] if known else NONE  # Captum counts from the end, too


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
