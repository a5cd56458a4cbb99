"""Lazy modules, which learn their sizes from the first input that they see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin

from captum_xdnn.convert.copying import copied
from captum_xdnn.convert.evaluating import run


def initialise(model: nn.Module, arguments: Sequence[Any] | None) -> None:
    """Let lazy modules see an input, so that they have parameters.

    Raises:
        ValueError: If lazy modules stay without parameters, with their paths.
    """
    lazy = _lazy(model)
    if not lazy:
        return
    if arguments is None:
        message = (
            f"these lazy modules have no parameters yet: {', '.join(lazy)}; give inputs, or run "
            "the model once"
        )
        raise ValueError(message)
    trial = copied(model)
    run(trial, arguments)
    unseen = _lazy(trial)
    if unseen:
        message = (
            f"these lazy modules have no parameters yet: {', '.join(unseen)}; the model does not "
            "use them for these inputs"
        )
        raise ValueError(message)
    run(model, arguments)


def _lazy(model: nn.Module) -> list[str]:
    lazy: list[tuple[str, Any]] = [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, LazyModuleMixin)
    ]
    return [path or "the model" for path, module in lazy if module.has_uninitialized_params()]
