"""The records of samples that are attributed together: one call of the method, its outputs, the gap."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum_xdnn._captum import select_targets
from captum_xdnn.dataset.ids import id_array
from captum_xdnn.dataset.loading import Batch
from captum_xdnn.dataset.records import NONE, Records
from captum_xdnn.dataset.settings import Settings
from captum_xdnn.errors import XDNNError

Inputs = tuple[Tensor, ...]

BROKEN = (MemoryError, torch.OutOfMemoryError, XDNNError, Warning)
"""What is wrong with the run and not with a sample."""


class Computation:
    """Calls the method; what it learns of the function at the first call holds for all."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._method = settings, settings.method
        self._baselines = settings.at_device(settings.baselines)
        self._start: Tensor | None = None

    def records(self, batch: Batch) -> Records:
        """Attribute samples together, whose data are a tuple of inputs and the labels."""
        tensors, labels = batch.data
        settings, method, size = self._settings, self._method, len(batch.ids)
        inputs = tuple(map(self._leaf, settings.at_device(tensors)))
        outputs = None
        target: Any = settings.target
        if target == "label":
            target = labels.to(inputs[0].device, torch.int64)
        elif target == "predicted":
            outputs = self._forward(inputs)
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

        explained = select_targets(outputs, target).double().reshape(size, -1)
        classes = outputs.dim() == 2 and outputs.shape[1] > 1
        route = getattr(method, "last_route", None) or type(method).__name__
        return Records(
            {
                "id": id_array(batch.ids),
                "target": column(target if isinstance(target, Tensor | int) else NONE),
                "prediction": column(outputs.argmax(1) if classes else NONE),
                "output": column(explained.sum(1)),
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
        if not promised or not getattr(self._method, "multiplies_by_inputs", True):
            return none
        starts = self._baselines
        starts = starts if isinstance(starts, tuple) else (starts,) * len(inputs)
        if any(isinstance(b, Tensor) and len(b) != 1 for b in starts):
            return none  # a distribution of baselines: no one F(b)
        if self._start is None:
            pairs = zip(inputs, starts, strict=True)
            start = (torch.zeros_like(x[:1]) + (0 if b is None else b) for x, b in pairs)
            self._start = self._forward(tuple(start))
        size = len(outputs)
        ends = (outputs, self._start.expand(size, *self._start.shape[1:]))
        here, there = (select_targets(end, target).double().reshape(size, -1) for end in ends)
        sums = [a.reshape(len(a), -1).double().sum(1).cpu() for a in attributions]
        gained: Tensor = (here - there).sum(1)
        return torch.stack(sums).sum(0) - gained.cpu()

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
            except Exception:
                continue
            return outputs.shape[1] if outputs.dim() > 1 else None
        return None
