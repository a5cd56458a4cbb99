"""One batch of a data set: its attributions with what belongs to them, and what is set aside."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from captum_xdnn.attr._captum import select_targets
from captum_xdnn.dataset.batches import Batch, rows_of
from captum_xdnn.dataset.records import NONE, Records, Reject
from captum_xdnn.dataset.reductions import Dense, Reduction
from captum_xdnn.dataset.screening import flaws_of_inputs, flaws_of_labels
from captum_xdnn.errors import XDNNError, first_line

Target: TypeAlias = Literal["label", "predicted"] | int | tuple[int, ...] | None
Unpack: TypeAlias = Callable[[Any], tuple[Any, Any]]
Inputs: TypeAlias = tuple[Tensor, ...]

BROKEN = (MemoryError, torch.OutOfMemoryError, XDNNError, Warning)
"""What is wrong with the run and not with a sample."""
HOPELESS = 32
"""So many samples may fail, one after the other, before any has been attributed."""


def input_and_label(data: Any) -> tuple[Any, Any]:
    """What most data sets give: a pair of inputs and label, or inputs alone.

    Args:
        data: A batch as the loader's collation made it.

    Raises:
        TypeError: If it is something else.
    """
    if isinstance(data, Tensor):
        return data, None
    if isinstance(data, list | tuple) and len(data) == 2:
        return data[0], data[1]
    if isinstance(data, list | tuple) and len(data) == 1:
        return data[0], None
    kind = f"{type(data).__name__} of {len(data)}" if hasattr(data, "__len__") else type(data)
    message = (
        f"a batch is a pair of inputs and labels, or inputs alone, found a {kind}; "
        "unpack= takes a function that makes (inputs, labels) of it"
    )
    raise TypeError(message)


@dataclass
class Attributing:
    """Attributes batches; what it learns of the function at the first one holds for all.

    Args:
        method: Object of any of Captum's ``Attribution`` classes, ours among them.
        target: ``"label"``, ``"predicted"``, or an index for all, as in Captum.
        baselines: As in Captum, the same for all: None, numbers, or tensors of batch size 1.
        reduce: What is kept of the attributions.
        autocast: Dtype of mixed precision; None for none.
        device: Where to compute; None for where the model is.
        unpack: Makes ``(inputs, labels)`` of a batch.
        arguments: Further arguments of ``attribute``.

    Raises:
        TypeError: If ``method`` is no method of Captum's kind.
        ValueError: If the model is in training mode, or ``target`` is none of the above.
    """

    method: Any
    target: Target = "label"
    baselines: Any = None
    reduce: Reduction = field(default_factory=Dense)
    autocast: torch.dtype | None = None
    device: torch.device | None = None
    unpack: Unpack = input_and_label
    arguments: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (hasattr(self.method, "attribute") and hasattr(self.method, "forward_func")):
            message = f"method must be an object of Captum's kind, found {type(self.method)}"
            raise TypeError(message)
        if isinstance(self.target, str) and self.target not in ("label", "predicted"):
            message = f"target must be 'label', 'predicted' or an index, found {self.target!r}"
            raise ValueError(message)
        model = model_of(self.method.forward_func)
        _refuse_training(model)
        if self.device is None and model is not None:
            self.device = next((p.device for p in model.parameters()), None)
        self._outputs: int | None = None
        self._shapes: list[tuple[int, ...]] | None = None
        self._start: Tensor | None = None
        self._failures = 0

    def __call__(self, batch: Batch) -> tuple[list[Records], list[Reject]]:
        """Attribute a batch; samples that cannot be are set aside.

        Args:
            batch: The batch.

        Returns:
            Records, and the samples set aside; together each sample of the batch once.

        Raises:
            Exception: What the method raised, where nothing at all can be attributed.
        """
        try:
            inputs, labels = self._unpacked(batch)
            pairs = zip(flaws_of_inputs(inputs), self._label_flaws(inputs, labels), strict=True)
        except (TypeError, ValueError) as error:
            if self._shapes is None:
                raise
            return [], [Reject(i, first_line(error)) for i in batch.ids]
        flaws = [of_input or of_label for of_input, of_label in pairs]
        rejects = [Reject(i, flaw) for i, flaw in zip(batch.ids, flaws, strict=True) if flaw]
        good = [place for place, flaw in enumerate(flaws) if not flaw]
        if not good:
            return [], rejects
        records, more = self._attributed(_Part(batch.ids, inputs, labels).rows(good))
        return records, rejects + more

    def _attributed(self, part: _Part) -> tuple[list[Records], list[Reject]]:
        try:
            return self._kept(part)
        except BROKEN:
            raise
        except Exception as error:
            if len(part.ids) > 1:
                return self._one_by_one(part)
            self._failures += 1
            if self._shapes is None and self._failures >= HOPELESS:
                raise
            return [], [Reject(part.ids[0], self._why(part, error))]

    def _one_by_one(self, part: _Part) -> tuple[list[Records], list[Reject]]:
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

    def _why(self, part: _Part, error: Exception) -> str:
        shapes = [tuple(x.shape[1:]) for x in part.inputs]
        reason = first_line(error)
        if self._shapes is None or shapes == self._shapes:
            return reason
        found, usual = (", ".join(map(str, s)) for s in (shapes, self._shapes))
        return f"input of shape {found}, others have {usual}: {reason}"

    def _kept(self, part: _Part) -> tuple[list[Records], list[Reject]]:
        """The records of a part whose attributions are finite, the other samples set aside."""
        records = self._run(part)
        self._shapes = self._shapes or [tuple(x.shape[1:]) for x in part.inputs]
        numbers = [c for c in records.columns.values() if c.dtype.kind == "f" and c.ndim > 1]
        finite = np.isfinite(records.columns["output"])
        for column in numbers:
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

    def _run(self, part: _Part) -> Records:
        inputs = tuple(self._leaf(x.to(self.device, non_blocking=True)) for x in part.inputs)
        given = inputs if len(inputs) > 1 else inputs[0]
        arguments = dict(self.arguments)
        if self.baselines is not None:
            arguments["baselines"] = self._at_device(self.baselines)
        with self.precision():
            outputs = None
            target: Any = self.target
            if target == "label":
                target = part.labels.to(inputs[0].device, torch.int64)
            elif target == "predicted":
                outputs = self._forward(inputs)
                target = outputs.argmax(1)
            if target is not None:
                arguments["target"] = target
            attributions = self.method.attribute(given, **arguments)
            if outputs is None:
                outputs = getattr(self.method, "last_outputs", None)
            if outputs is None:
                outputs = self._forward(inputs)
            gained = self._gained(outputs, inputs, target)
        parts = attributions if isinstance(attributions, tuple) else (attributions,)
        return self._records(part, tuple(p.detach() for p in parts), outputs, target, gained)

    def _leaf(self, tensor: Tensor) -> Tensor:
        """An input as the method expects it: Captum's gradients warn of one that requires none."""
        ours = hasattr(self.method, "last_route") or not tensor.is_floating_point()
        return tensor if ours else tensor.detach().requires_grad_()

    def _records(
        self, part: _Part, attributions: Inputs, outputs: Tensor, target: Any, gained: Tensor | None
    ) -> Records:
        size = len(part.ids)
        wrong = [tuple(a.shape) for a in attributions if a.shape[:1] != (size,)]
        if wrong:
            message = f"{size} samples, but attributions of shape {wrong[0]}"
            raise ValueError(message)
        explained = select_targets(outputs, target).double().reshape(size, -1)
        gaps = torch.full((size,), torch.nan, dtype=torch.float64)
        if gained is not None:
            gaps = _added(attributions) - gained.cpu()
        classes = outputs.dim() == 2 and outputs.shape[1] > 1
        none = torch.full((size,), NONE)
        targets = target if isinstance(target, Tensor) else none
        if isinstance(target, int):
            targets = torch.full((size,), target)
        route = getattr(self.method, "last_route", None) or type(self.method).__name__
        return Records(
            {
                "id": np.array(part.ids),
                "target": targets.cpu().numpy(),
                "prediction": (outputs.argmax(1) if classes else none).cpu().numpy(),
                "output": explained.sum(1).cpu().numpy(),
                "route": np.full(size, route),
                "completeness_gap": gaps.numpy(),
                **self.reduce(attributions),
            }
        )

    def _gained(self, outputs: Tensor, inputs: Inputs, target: Any) -> Tensor | None:
        """``F(x) - F(b)`` of each sample; None where a method promises no completeness."""
        promised = getattr(self.method, "has_convergence_delta", bool)()
        if not promised or not getattr(self.method, "multiplies_by_inputs", True):
            return None
        starts = self.baselines if isinstance(self.baselines, tuple) else (self.baselines,)
        if any(isinstance(b, Tensor) and len(b) != 1 for b in starts):
            return None  # a distribution of baselines: no one F(b)
        if self._start is None:
            starts = starts if len(starts) == len(inputs) else starts * len(inputs)
            self._start = self._forward(
                tuple(
                    torch.zeros_like(x[:1]) + (0 if b is None else self._at_device(b))
                    for x, b in zip(inputs, starts, strict=True)
                )
            )
        ends = (outputs, self._start.expand(len(outputs), *self._start.shape[1:]))
        values = [select_targets(end, target).double().reshape(len(outputs), -1) for end in ends]
        gained: Tensor = (values[0] - values[1]).sum(1)
        return gained

    def _forward(self, inputs: Inputs) -> Tensor:
        further = self.arguments.get("additional_forward_args")
        further = further if isinstance(further, tuple) else (further,)
        with torch.no_grad():
            outputs: Tensor = self.method.forward_func(
                *inputs, *(() if further == (None,) else further)
            )
        return outputs

    def precision(self) -> AbstractContextManager[Any]:
        """The context of mixed precision, where it is wanted."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast((self.device or torch.device("cpu")).type, self.autocast)

    def _at_device(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(self._at_device, value))
        return value.to(self.device) if isinstance(value, Tensor) else value

    def _unpacked(self, batch: Batch) -> tuple[Inputs, Any]:
        inputs, labels = self.unpack(batch.data)
        tensors = tuple(inputs) if isinstance(inputs, list | tuple) else (inputs,)
        wrong = [type(x).__name__ for x in tensors if not isinstance(x, Tensor)]
        if wrong or not tensors:
            message = f"inputs must be a tensor or a tuple of tensors, found {wrong or 'none'}"
            raise TypeError(message)
        sizes = {tuple(x.shape[:1]) for x in tensors}
        if sizes != {(len(batch.ids),)}:
            message = f"{len(batch.ids)} samples, but inputs of {sorted(sizes)} rows"
            raise ValueError(message)
        return tensors, labels

    def _label_flaws(self, inputs: Inputs, labels: Any) -> list[str]:
        if self.target != "label":
            return [""] * len(inputs[0])
        if labels is None:
            message = "the loader gives no labels: target='predicted', or an index for all"
            raise ValueError(message)
        if self._outputs is None:
            self._outputs = self._count_outputs(inputs)
        return flaws_of_labels(labels, len(inputs[0]), self._outputs)

    def _count_outputs(self, inputs: Inputs) -> int | None:
        """How many outputs a label can name; None while no sample tells."""
        for place in range(len(inputs[0])):
            one = tuple(x[place : place + 1].to(self.device) for x in inputs)
            try:
                with self.precision():
                    outputs = self._forward(one)
            except BROKEN:
                raise
            except Exception:
                continue
            return outputs.shape[1] if outputs.dim() > 1 else None
        return None


@dataclass(frozen=True)
class _Part:
    """Samples that are attributed together."""

    ids: tuple[Any, ...]
    inputs: Inputs
    labels: Any

    def rows(self, places: list[int]) -> _Part:
        size = len(self.ids)
        if len(places) == size:
            return self
        where = torch.tensor(places)
        inputs, labels = rows_of((self.inputs, self.labels), size, where)
        return _Part(tuple(self.ids[p] for p in places), inputs, labels)


def model_of(forward_func: Any) -> nn.Module | None:
    """The module that a function is, or is a method of; None where that is not known.

    Args:
        forward_func: The function.
    """
    owner = getattr(forward_func, "__self__", forward_func)
    return owner if isinstance(owner, nn.Module) else None


def _refuse_training(model: nn.Module | None) -> None:
    """Refuse what is random, or changes, while it is attributed."""
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd, nn.RReLU)
    modules = model.named_modules() if model is not None else ()
    found = [name for name, m in modules if m.training and isinstance(m, kinds)]
    if found:
        message = f"the model is in training mode ({', '.join(found[:3])}): call model.eval()"
        raise ValueError(message)


def _added(attributions: Inputs) -> Tensor:
    """The sum of each sample's attributions, in float64."""
    sums = [a.reshape(len(a), -1).double().sum(1).cpu() for a in attributions]
    return torch.stack(sums).sum(0)
