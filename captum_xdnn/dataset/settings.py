"""What decides the attributions of a run, checked when it is made."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from captum_xdnn._torch import BatchNorm, DropoutNd
from captum_xdnn.dataset.reductions import Dense, Reduction

Target: TypeAlias = Literal["label", "predicted"] | int | tuple[int, ...] | None
Unpack: TypeAlias = Callable[[Any], tuple[Any, Any]]


def input_and_label(data: Any) -> tuple[Any, Any]:
    """What most data sets give: a pair of inputs and label, or inputs alone.

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
class Settings:
    """How samples are attributed.

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

    @property
    def is_ours(self) -> bool:
        """Whether the method is one of this package's, with routes."""
        return hasattr(self.method, "last_route")

    def precision(self) -> AbstractContextManager[Any]:
        """The context of mixed precision, where it is wanted."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast((self.device or torch.device("cpu")).type, self.autocast)

    def at_device(self, value: Any) -> Any:
        """A tensor, or a tuple of what may be one, where it is computed with.

        Args:
            value: The value; what is no tensor is left as it is.
        """
        if isinstance(value, tuple):
            return tuple(map(self.at_device, value))
        return value.to(self.device, non_blocking=True) if isinstance(value, Tensor) else value

    def unpacked(self, data: Any, size: int) -> tuple[tuple[Tensor, ...], Any]:
        """The inputs of a batch and its labels.

        Raises:
            TypeError: If the inputs are no tensors.
            ValueError: If they have another number of rows.
        """
        inputs, labels = self.unpack(data)
        tensors = tuple(inputs) if isinstance(inputs, list | tuple) else (inputs,)
        wrong = [type(x).__name__ for x in tensors if not isinstance(x, Tensor)]
        if wrong or not tensors:
            message = f"inputs must be a tensor or a tuple of tensors, found {wrong or 'none'}"
            raise TypeError(message)
        sizes = {tuple(x.shape[:1]) for x in tensors}
        if sizes != {(size,)}:
            message = f"{size} samples, but inputs of {sorted(sizes)} rows"
            raise ValueError(message)
        return tensors, labels


def model_of(forward_func: Any) -> nn.Module | None:
    """The module that a function is, or is a method of; None where that is not known."""
    owner = getattr(forward_func, "__self__", forward_func)
    return owner if isinstance(owner, nn.Module) else None


def _refuse_training(model: nn.Module | None) -> None:
    """Refuse what is random, or changes, while it is attributed."""
    kinds = (BatchNorm, DropoutNd, nn.RReLU)
    modules = model.named_modules() if model is not None else ()
    found = [name for name, m in modules if m.training and isinstance(m, kinds)]
    if found:
        message = f"the model is in training mode ({', '.join(found[:3])}): call model.eval()"
        raise ValueError(message)
