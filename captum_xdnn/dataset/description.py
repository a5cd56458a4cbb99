"""What decides the records of a run, in words and digests, to tell one run from another."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from captum_xdnn.dataset.settings import Settings, model_of


def description_of(settings: Settings) -> dict[str, Any]:
    """What has to be the same where a run goes on.

    Weights count by their digest, so a run does not go on with another checkpoint. Of a function
    that is no module, only its name is known.
    """
    method = settings.method
    model = model_of(method.forward_func)
    layer = getattr(method, "layer", None)
    names = [name for name, m in model.named_modules() if m is layer] if model is not None else []
    return {
        "method": type(method).__name__,
        "strategy": getattr(method, "strategy", None),
        "multiply_by_inputs": getattr(method, "multiplies_by_inputs", None),
        "function": _name(method.forward_func if model is None else model),
        "weights": None if model is None else _digest_of_state(model),
        "layer": names[0] if names else None,
        "target": _said(settings.target),
        "baselines": _said(settings.baselines),
        "reduce": repr(settings.reduce),
        "autocast": _said(settings.autocast),
        "arguments": {name: _said(value) for name, value in sorted(settings.arguments.items())},
    }


def _name(function: Any) -> str:
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _said(value: Any) -> Any:
    """A value as JSON holds it; a tensor by its digest."""
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)} {_digest([('', value)])}"
    if isinstance(value, list | tuple):
        return [_said(each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value) if isinstance(value, torch.dtype) else type(value).__name__


def _digest_of_state(model: nn.Module) -> str:
    return _digest(sorted(model.state_dict().items()))


def _digest(tensors: list[tuple[str, Any]]) -> str:
    total = hashlib.sha256()
    for name, tensor in tensors:
        total.update(name.encode())
        if isinstance(tensor, Tensor):
            bare = tensor.detach().cpu().contiguous()
            total.update(f"{bare.dtype}{tuple(bare.shape)}".encode())
            total.update(bare.reshape(-1).view(torch.uint8).numpy().tobytes())
        else:
            total.update(repr(tensor).encode())
    return total.hexdigest()[:16]
