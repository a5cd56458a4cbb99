"""The softmax at the end of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from captum_xdnn.convert.trial import run

PROBABILITIES: tuple[type[nn.Module], ...] = (
    nn.Softmax,
    nn.Softmax2d,
    nn.LogSoftmax,
    nn.Sigmoid,
    nn.LogSigmoid,
)


def last_softmax(model: nn.Module, arguments: Sequence[Any] | None) -> nn.Module | None:
    """The module that is called once, makes probabilities, and whose output the network returns.

    Without arguments to call the network with it is sought at the end of a ``Sequential`` alone.
    """
    return _end_of_sequential(model) if arguments is None else _returned(model, arguments)


def _end_of_sequential(model: nn.Module) -> nn.Module | None:
    module = model
    while type(module).forward is nn.Sequential.forward and isinstance(module, nn.Sequential):
        if not len(module):
            return None
        module = module[-1]
    places = [m for _, m in model.named_modules(remove_duplicate=False) if m is module]
    return module if isinstance(module, PROBABILITIES) and len(places) == 1 else None


def _returned(model: nn.Module, arguments: Sequence[Any]) -> nn.Module | None:
    calls: list[tuple[nn.Module, Any, int | None]] = []

    def note(module: nn.Module, _: Any, output: Any) -> None:
        calls.append((module, output, _writes(output)))

    candidates = [module for module in model.modules() if isinstance(module, PROBABILITIES)]
    handles = [module.register_forward_hook(note) for module in candidates]
    try:
        result = run(model, arguments)
    finally:
        for handle in handles:
            handle.remove()
    for module, output, writes in calls:
        calls_of_it = sum(other is module for other, _, _ in calls)
        untouched = writes is not None and writes == _writes(output)
        if output is result and calls_of_it == 1 and untouched:
            return module
    return None


def _writes(output: Any) -> int | None:
    """How often a tensor has been written to; None where that is not counted."""
    counted = isinstance(output, Tensor) and not output.is_inference()
    return output._version if counted else None
