"""The records of samples that are attributed together: one call of the method, its outputs, the gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum_xdnn._captum import select_targets
from captum_xdnn.dataset.batches import rows_of
from captum_xdnn.dataset.records import NONE, Records
from captum_xdnn.dataset.settings import Settings
from captum_xdnn.errors import XDNNError

Inputs = tuple[Tensor, ...]

BROKEN = (MemoryError, torch.OutOfMemoryError, XDNNError, Warning)
"""What is wrong with the run and not with a sample."""


@dataclass(frozen=True)
class Part:
    """Samples that are attributed together."""

    ids: tuple[Any, ...]
    inputs: Inputs
    labels: Any

    def rows(self, places: list[int]) -> Part:
        """Some of them."""
        size = len(self.ids)
        if len(places) == size:
            return self
        where = torch.tensor(places)
        inputs, labels = rows_of((self.inputs, self.labels), size, where)
        return Part(tuple(self.ids[p] for p in places), inputs, labels)


class Computation:
    """Calls the method; what it learns of the function at the first call holds for all."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._start: Tensor | None = None

    def records(self, part: Part) -> Records:
        """Attribute samples together."""
        inputs = tuple(map(self._leaf, self.settings.at_device(part.inputs)))
        given = inputs if len(inputs) > 1 else inputs[0]
        arguments = dict(self.settings.arguments)
        if self.settings.baselines is not None:
            arguments["baselines"] = self.settings.at_device(self.settings.baselines)
        with self.settings.precision():
            outputs = None
            target: Any = self.settings.target
            if target == "label":
                target = part.labels.to(inputs[0].device, torch.int64)
            elif target == "predicted":
                outputs = self._forward(inputs)
                target = outputs.argmax(1)
            if target is not None:
                arguments["target"] = target
            attributions = self.settings.method.attribute(given, **arguments)
            if outputs is None:
                outputs = getattr(self.settings.method, "last_outputs", None)
            if outputs is None:
                outputs = self._forward(inputs)
            gained = self._gained(outputs, inputs, target)
        parts = attributions if isinstance(attributions, tuple) else (attributions,)
        return self._records(part, tuple(p.detach() for p in parts), outputs, target, gained)

    def _leaf(self, tensor: Tensor) -> Tensor:
        """An input as the method expects it: Captum's gradients warn of one that requires none."""
        as_it_is = self.settings.is_ours or not tensor.is_floating_point()
        return tensor if as_it_is else tensor.detach().requires_grad_()

    def _records(
        self, part: Part, attributions: Inputs, outputs: Tensor, target: Any, gained: Tensor | None
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
        route = (
            getattr(self.settings.method, "last_route", None) or type(self.settings.method).__name__
        )
        return Records(
            {
                "id": np.array(part.ids),
                "target": targets.cpu().numpy(),
                "prediction": (outputs.argmax(1) if classes else none).cpu().numpy(),
                "output": explained.sum(1).cpu().numpy(),
                "route": np.full(size, route),
                "completeness_gap": gaps.numpy(),
                **self.settings.reduce(attributions),
            }
        )

    def _gained(self, outputs: Tensor, inputs: Inputs, target: Any) -> Tensor | None:
        """``F(x) - F(b)`` of each sample; None where a method promises no completeness."""
        promised = getattr(self.settings.method, "has_convergence_delta", bool)()
        if not promised or not getattr(self.settings.method, "multiplies_by_inputs", True):
            return None
        starts = (
            self.settings.baselines
            if isinstance(self.settings.baselines, tuple)
            else (self.settings.baselines,)
        )
        if any(isinstance(b, Tensor) and len(b) != 1 for b in starts):
            return None  # a distribution of baselines: no one F(b)
        if self._start is None:
            starts = starts if len(starts) == len(inputs) else starts * len(inputs)
            self._start = self._forward(
                tuple(
                    torch.zeros_like(x[:1]) + (0 if b is None else self.settings.at_device(b))
                    for x, b in zip(inputs, starts, strict=True)
                )
            )
        ends = (outputs, self._start.expand(len(outputs), *self._start.shape[1:]))
        values = [select_targets(end, target).double().reshape(len(outputs), -1) for end in ends]
        gained: Tensor = (values[0] - values[1]).sum(1)
        return gained

    def _forward(self, inputs: Inputs) -> Tensor:
        further = self.settings.arguments.get("additional_forward_args")
        further = further if isinstance(further, tuple) else (further,)
        with torch.no_grad():
            outputs: Tensor = self.settings.method.forward_func(
                *inputs, *(() if further == (None,) else further)
            )
        return outputs

    def count_outputs(self, inputs: Inputs) -> int | None:
        """How many outputs a label can name; None while no sample tells."""
        for place in range(len(inputs[0])):
            one = tuple(x[place : place + 1].to(self.settings.device) for x in inputs)
            try:
                with self.settings.precision():
                    outputs = self._forward(one)
            except BROKEN:
                raise
            except Exception:
                continue
            return outputs.shape[1] if outputs.dim() > 1 else None
        return None


def _added(attributions: Inputs) -> Tensor:
    """The sum of each sample's attributions, in float64."""
    sums = [a.reshape(len(a), -1).double().sum(1).cpu() for a in attributions]
    return torch.stack(sums).sum(0)
