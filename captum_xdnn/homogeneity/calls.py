"""What of a call decides its trace and its analysis: shapes, dtypes, devices, literals, autocast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from captum_xdnn.homogeneity.analysis import Baseline
from captum_xdnn.homogeneity.blocker import Blocker
from captum_xdnn.homogeneity.certificate import Certificate


def unsuitable(inputs: Sequence[Tensor]) -> Certificate | None:
    """A refusal for inputs that gradients cannot be taken of, or that are no batch."""
    for index, tensor in enumerate(inputs):
        reason = None
        if tensor.dim() == 0 or tensor.shape[0] == 0:
            reason = "is an empty batch" if tensor.dim() else "has no batch dimension"
        elif not tensor.is_floating_point():
            reason = f"is of dtype {tensor.dtype}, which has no gradient along a real ray"
        elif tensor.layout != torch.strided:
            reason = f"has layout {tensor.layout}"
        if reason:
            remedy = "give a floating-point tensor of shape (B, ...)"
            return Certificate.refused(
                Blocker("input", "", "", "", f"input {index} {reason}", remedy)
            )
    return None


def known_baseline(baseline: Baseline) -> Baseline:
    """The number 0 for a baseline that is zero by value (reading a tensor waits for its device)."""
    if isinstance(baseline, Tensor) and not bool(baseline.any()):
        return 0
    return baseline


def plain_call(inputs: Sequence[Tensor], baselines: Sequence[Baseline]) -> Any:
    """All that an analysis depends on in a call without tensors beside its inputs; else None."""
    looks: list[Any] = [_autocast(inputs[0].device.type)]
    for tensor, baseline in zip(inputs, baselines, strict=True):
        if isinstance(baseline, Tensor):
            return None
        looks += (tensor.shape, tensor.dtype, tensor.device, _contiguous(tensor), baseline)
    return tuple(looks)


def twice(value: Any) -> Any:
    """What belongs to a lone example, for a batch of two; everything else as it is."""
    alone = isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == 1
    return torch.cat([value, value]) if alone else value


def key_of_trace(inputs: Sequence[Tensor], arguments: Sequence[Any]) -> Any:
    """What a trace is of: shapes per example, dtypes, devices, literals, autocast."""
    size = inputs[0].shape[0]
    shapes = tuple((_signature(t, size), _contiguous(t)) for t in inputs)
    autocast = _autocast(inputs[0].device.type)
    if not arguments:
        return (shapes, autocast)
    leaves, structure = pytree.tree_flatten(list(arguments))
    return (shapes, autocast, tuple(_signature(leaf, size) for leaf in leaves), str(structure))


def _signature(value: Any, size: int) -> Any:
    if isinstance(value, Tensor):
        batched = value.dim() > 0 and value.shape[0] == size
        shape = tuple(value.shape[1:]) if batched else tuple(value.shape)
        return (batched, shape, value.dtype, value.device)
    if isinstance(value, int | float | complex | str | bool | type(None)):
        return (type(value), value)
    message = f"it is of type {type(value).__name__}"
    raise TypeError(message)


def _contiguous(tensor: Tensor) -> Any:
    """Whether a tensor is contiguous, which code may ask; its layout where that means nothing."""
    return tensor.is_contiguous() if tensor.layout == torch.strided else tensor.layout


def _autocast(device: str) -> Any:
    on = torch.is_autocast_enabled(device) if device in ("cpu", "cuda") else False
    return torch.get_autocast_dtype(device) if on else None
