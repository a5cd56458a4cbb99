"""Weights whose files are part of this package."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

__all__ = ["BundledWeights"]

_FOLDER = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class BundledWeights:
    """One trained state dict of the package and the facts of its training.

    The facts are read from the JSON file which the training run wrote beside the state dict:
    numbers that are typed twice disagree after the next training.

    Args:
        name: File name, without ending, of the state dict (``.pt``) and of its facts (``.json``) in
            ``weights/``.
        transforms: Zero-argument factory of the input transform, as in torchvision.
        recipe: Command that trains these weights again.
        license: Licence of the weights, and of the data they were trained on.
        min_size: Height and width of the smallest input.
    """

    name: str
    transforms: Callable[[], Callable[[Any], Tensor]]
    recipe: str
    license: str
    min_size: tuple[int, int]

    @cached_property
    def meta(self) -> dict[str, Any]:
        """Facts under torchvision's keys, and under ``training`` all that the run recorded."""
        facts = json.loads((_FOLDER / f"{self.name}.json").read_text(encoding="utf-8"))
        return {
            "bias": facts["bias"],
            "num_params": facts["num_params"],
            "categories": facts["categories"],
            "min_size": self.min_size,
            "recipe": self.recipe,
            "license": self.license,
            "_metrics": {facts["dataset"]: facts["test_accuracy"]},
            "training": facts,
        }

    @property
    def url(self) -> str:
        """Address of the file on this machine."""
        return self._path.as_uri()

    @property
    def bias(self) -> bool:
        """Whether they were trained with biases."""
        return cast(bool, self.meta["bias"])

    @property
    def num_classes(self) -> int:
        """Number of logits they were trained with."""
        return len(self.meta["categories"])

    def state_dict(self, *, progress: bool, check_hash: bool) -> dict[str, Tensor]:
        """Read the state dict from the package, on the CPU.

        Returns:
            Float32 parameters by name.
        """
        del progress, check_hash
        return cast(
            dict[str, Tensor], torch.load(self._path, map_location="cpu", weights_only=True)
        )

    @property
    def _path(self) -> Path:
        return _FOLDER / f"{self.name}.pt"
