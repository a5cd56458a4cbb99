"""What every builder does once its weights are chosen: refuse, build, load."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from captum_xdnn.models.checkpoints import load_state
from captum_xdnn.models.weights_enum import XWeightsEnum

__all__ = ["build"]

_Network = TypeVar("_Network", bound=nn.Module)


def build(
    network: Callable[..., _Network],
    weights: XWeightsEnum | None,
    *,
    progress: bool,
    bias: bool,
    num_classes: int,
    **options: Any,
) -> _Network:
    """Build a network and load its weights.

    Returns:
        The network, in training mode as torchvision's builders return it.

    Raises:
        ValueError: If the weights were trained with another ``bias`` or ``num_classes``.
    """
    if weights is not None:
        _refuse_mismatch(weights, {"bias": bias, "num_classes": num_classes})
    model = network(bias=bias, num_classes=num_classes, **options)
    if weights is not None:
        load_state(model, weights.get_state_dict(progress=progress), source=repr(weights))
    return model


def _refuse_mismatch(weights: XWeightsEnum, asked: dict[str, Any]) -> None:
    trained = {"bias": weights.value.bias, "num_classes": weights.value.num_classes}
    differences = [
        f"they were trained with {name}={trained[name]}, and {name}={value} was asked for"
        for name, value in asked.items()
        if value != trained[name]
    ]
    if differences:
        advice = [", ".join(f"{name}={value}" for name, value in trained.items())]
        advice += [
            f"weights={other!r} with bias={other.value.bias}"
            for other in type(weights)
            if other is not weights
        ]
        raise ValueError(
            f"{weights!r} cannot be loaded: {'; '.join(differences)}. Pass {', or '.join(advice)}."
        )
