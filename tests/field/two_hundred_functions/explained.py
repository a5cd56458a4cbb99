"""A function with one call that explains it, as the files of functions declare them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import captum.attr
import torch
from torch import Tensor, nn

import captum_xdnn

CLASSES: dict[str, tuple[Any, Any]] = {
    name: (getattr(captum.attr, name), getattr(captum_xdnn, f"X{name}"))
    for name in (
        "IntegratedGradients",
        "LayerIntegratedGradients",
        "NeuronIntegratedGradients",
        "LayerConductance",
        "NeuronConductance",
        "InternalInfluence",
    )
}
"""Captum's class and ours, by Captum's name."""


@dataclass
class Explained:
    """A function, its inputs, and the other arguments of ``attribute``."""

    function: Any
    inputs: Any
    call: dict[str, Any] = field(default_factory=dict)
    method: str = "IntegratedGradients"  # the name of one of Captum's classes
    layer: Any = None  # for the classes that explain a layer or a neuron
    options: dict[str, Any] = field(default_factory=dict)  # of the class
    # how the documentation says that what is left differs from what Captum leaves, or that a warning
    # comes; then it has to
    documented: str = ""

    def explainer(self, cls: Any) -> Any:
        """An object of a class that explains the function."""
        layers = () if self.layer is None else (self.layer,)
        return cls(self.function, *layers, **self.options)

    def tensors(self) -> tuple[Any, ...]:
        """The inputs as a tuple, whatever they are."""
        return self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)


Maker = Callable[[], Explained]
"""Makes the function anew, of the random numbers and in the default dtype that are set."""


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """What is made meanwhile is of this dtype, unless it is told otherwise."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def as_trained(net: nn.Module) -> nn.Module:
    """Statistics and shifts of norms, and biases, as a training leaves them: none is zero."""
    for part in net.modules():
        mean = getattr(part, "running_mean", None)
        if isinstance(mean, Tensor):
            nn.init.normal_(mean, std=0.1)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    for parameter in net.parameters():
        if parameter.is_floating_point() and not parameter.any():
            nn.init.uniform_(parameter, -0.1, 0.1)
    return net.eval()


class Apply(nn.Module):
    """A function of the inputs and of modules, as a module of its own."""

    def __init__(self, compute: Callable[..., Any], *parts: nn.Module) -> None:
        super().__init__()
        self.compute, self.parts = compute, nn.ModuleList(parts)

    def forward(self, *inputs: Any) -> Any:
        return self.compute(*inputs, *self.parts)


def perceptron(*widths: int, bias: bool = True, bend: Any = nn.ReLU) -> nn.Sequential:
    """Linear layers with a bend between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after, bias=bias), bend()]
    return nn.Sequential(*layers[:-1])
