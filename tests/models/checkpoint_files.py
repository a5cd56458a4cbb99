"""Checkpoints as PyTorch's ImageNet example writes them, which the official files are made by."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

LAYOUTS = ("module", "features.module", "plain")


def full_names(model: nn.Module, layout: str) -> dict[str, str]:
    """The names under which the training script saves a state dict, by the network's own."""
    wrapped = copy.deepcopy(model)
    if layout == "module":
        wrapped = nn.DataParallel(wrapped)
    elif layout == "features.module":
        wrapped.features = nn.DataParallel(wrapped.features)
    return dict(zip(model.state_dict(), wrapped.state_dict(), strict=True))


def in_layout(model: nn.Module, state: dict[str, Tensor], layout: str) -> dict[str, Tensor]:
    return {full: state[name] for name, full in full_names(model, layout).items()}


def training_state(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Any]:
    """The dict around a state dict: the best accuracy is a tensor, the momentum is kept too."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    return {
        "epoch": 97,
        "arch": type(model).__name__.lower(),
        "state_dict": state,
        "best_acc1": torch.tensor(56.5),
        "optimizer": optimizer.state_dict(),
    }


def write_checkpoint(path: Path, model: nn.Module, layout: str) -> Path:
    state = in_layout(model, model.state_dict(), layout)
    torch.save(training_state(model, state), path)
    return path


def thin_state(model: nn.Module) -> dict[str, Tensor]:
    """A state dict of a network of any size whose file is small: `w[i, j, k, l] = v[i + j + k + l]`."""
    return {
        name: (torch.randn(sum(value.shape)) / value[0].numel() ** 0.5).as_strided(
            value.shape, (1,) * value.dim()
        )
        for name, value in model.state_dict().items()
    }
