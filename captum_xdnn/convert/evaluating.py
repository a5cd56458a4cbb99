"""Running a network as it is used for explanations, and leaving it as it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from captum_xdnn._torch import pytree


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; each module's own mode is put back.

    The modes are set without calling ``train``, which a network may have made do more.
    """
    modes = {module: module.training for module in model.modules()}
    for module in modes:
        module.training = False
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def run(model: nn.Module, arguments: Sequence[Any]) -> Any:
    """Call a network on copies of the arguments, in evaluation mode, without gradients."""
    copies = pytree.tree_map_only(Tensor, torch.clone, tuple(arguments))
    with evaluating(model), torch.no_grad():
        return model(*copies)
