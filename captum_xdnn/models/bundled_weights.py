"""Weights enums in torchvision's form whose files are part of this package, without torchvision."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

__all__ = ["BundledWeights", "BundledWeightsEnum"]

_FOLDER = Path(__file__).parent / "weights"
_Member = TypeVar("_Member", bound="BundledWeightsEnum")


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


class BundledWeightsEnum(Enum):
    """Base of the enums whose members are ``BundledWeights``.

    It has the methods of ``torchvision.models.WeightsEnum`` that a builder needs, so that code
    written for that class reads the same, and works where torchvision is not installed.
    """

    @classmethod
    def verify(cls: type[_Member], weights: object) -> _Member | None:
        """Return the member that ``weights`` means.

        Args:
            weights: A member, its name with or without the name of the enum, or None.

        Returns:
            The member, or None for None.

        Raises:
            KeyError: If there is no member of this name.
            TypeError: If ``weights`` is neither a member, nor a string, nor None.
        """
        if weights is None or isinstance(weights, cls):
            return weights
        if isinstance(weights, str):
            name = weights.removeprefix(f"{cls.__name__}.")
            if name not in cls.__members__:
                raise KeyError(
                    f"{cls.__name__} has no weights {name!r}; it has {', '.join(cls.__members__)}"
                )
            return cls[name]
        raise TypeError(
            f"weights must be a {cls.__name__}, its name or None, not {type(weights).__name__}"
        )

    def get_state_dict(self, *, progress: bool = True) -> dict[str, Tensor]:
        """Read the state dict from the package, on the CPU.

        Args:
            progress: Accepted as in torchvision; nothing is downloaded.

        Returns:
            Float32 parameters by name.
        """
        del progress
        path = _FOLDER / f"{self.value.name}.pt"
        return cast(dict[str, Tensor], torch.load(path, map_location="cpu", weights_only=True))

    @property
    def meta(self) -> dict[str, Any]:
        """``bias``, ``num_params``, ``categories``, ``recipe``, ``license``, ``_metrics`` ..."""
        return cast(dict[str, Any], self.value.meta)

    @property
    def transforms(self) -> Callable[[], Callable[[Any], Tensor]]:
        """Zero-argument factory of the input transform."""
        return cast(Callable[[], Callable[[Any], Tensor]], self.value.transforms)

    def __repr__(self) -> str:
        """Name of the enum and of the member."""
        return f"{type(self).__name__}.{self.name}"
