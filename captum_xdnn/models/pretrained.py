"""Weights enums in torchvision's form, without torchvision."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor

from captum_xdnn.models.checkpoints import downloaded_state_dict

if TYPE_CHECKING:
    WeightsEnum = Enum
else:
    from captum_xdnn.models.torchvision_registry import WeightsEnum

_Transforms = Callable[[], Callable[[Any], Tensor]]
_Member = TypeVar("_Member", bound="XWeightsEnum")

_FOLDER = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class BundledWeights:
    """A state dict that is a file of this package, ``weights/NAME.pt``.

    The facts are read from the JSON file which the training run wrote beside the state dict:
    numbers that are typed twice disagree after the next training.
    """

    name: str
    transforms: _Transforms
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
        return bool(self.meta["bias"])

    @property
    def num_classes(self) -> int:
        """Number of logits they were trained with."""
        return len(self.meta["categories"])

    def state_dict(self, *, progress: bool, check_hash: bool) -> dict[str, Tensor]:
        """Read the file, which is always checked: ``torch.load`` does not see a flipped bit."""
        del progress, check_hash
        content = self._path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self.meta["training"].get("sha256"):
            raise RuntimeError(
                f"{self._path} is damaged: its SHA-256 is not the one in {self.name}.json beside "
                "it. Install captum-xdnn again."
            )
        state = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
        return cast(dict[str, Tensor], state)

    @property
    def _path(self) -> Path:
        return _FOLDER / f"{self.name}.pt"


def official_url(name: str) -> str:
    """Address of the official checkpoint of an architecture, in the authors' spelling."""
    folder = "2021-neurips-fast-axiomatic-attribution/models"
    return f"https://download.visinf.tu-darmstadt.de/data/{folder}/{name}_model_best.pth.tar"


def _imagenet_transforms() -> Callable[[Any], Tensor]:
    """The input transform of Hesse et al. 2021, Sec. 4.1: torchvision's for classification.

    It subtracts the mean colour: of what it gives, the baseline 0 is an image of that colour.
    """
    from torchvision.models import AlexNet_Weights  # torchvision is loaded on first use

    return cast(Callable[[Any], Tensor], AlexNet_Weights.IMAGENET1K_V1.transforms())


def _imagenet_categories() -> list[str] | None:
    """Names of the 1000 classes, or None without torchvision, which knows them."""
    if importlib.util.find_spec("torchvision") is None:
        return None
    from torchvision.models import AlexNet_Weights  # torchvision is loaded on first use

    return list(AlexNet_Weights.IMAGENET1K_V1.meta["categories"])


@dataclass(frozen=True)
class OfficialWeights:
    """A checkpoint that the authors of the paper trained on ImageNet-1K and published.

    ``acc5`` is the top-5 accuracy on the validation images in per cent, as the authors report it.
    ``sha256`` is None, since the authors publish none.
    """

    url: str
    bias: bool
    num_params: int
    acc5: float
    min_size: tuple[int, int] = (1, 1)
    sha256: str | None = None
    transforms: _Transforms = _imagenet_transforms
    num_classes: int = 1000

    @property
    def meta(self) -> dict[str, Any]:
        """Facts under torchvision's keys; ``categories`` is None without torchvision."""
        return {
            "bias": self.bias,
            "num_params": self.num_params,
            "categories": _imagenet_categories(),
            "min_size": self.min_size,
            "recipe": "https://github.com/visinf/fast-axiomatic-attribution/tree/main/imagenet",
            "paper": "https://arxiv.org/abs/2111.07668",
            "license": "not stated for the weights; the authors' repository, which links them, is "
            "under Apache-2.0",
            "sha256": self.sha256,
            "_metrics": {"ImageNet-1K": {"acc@5": self.acc5}},
            "metrics_source": "reported by the authors (Hesse et al. 2021, Sec. 4.1); not measured "
            "again here",
        }

    def state_dict(self, *, progress: bool, check_hash: bool) -> dict[str, Tensor]:
        """Read the weights, which are downloaded first if they are not at hand."""
        sha256 = self.sha256 if check_hash else None
        return downloaded_state_dict(self.url, sha256=sha256, progress=progress)


class XWeightsEnum(WeightsEnum):
    """Base of the enums of weights.

    It has the methods of ``torchvision.models.WeightsEnum``, of which it is a subclass where torchvision
    is installed, so that code written for that class reads the same.

    An enum without members, as torchvision has them too, says that nobody has published weights.
    """

    _value_: BundledWeights | OfficialWeights

    @classmethod
    def verify(cls: type[_Member], weights: object) -> _Member | None:
        """Return the member that is meant: itself, its name with or without the enum's, or None.

        Raises:
            KeyError: If there is no member of this name.
            TypeError: If ``weights`` is neither a member, nor a string, nor None.
        """
        if weights is None or isinstance(weights, cls):
            return weights
        if isinstance(weights, str):
            name = weights.removeprefix(f"{cls.__name__}.")
            if name not in cls.__members__:
                known = ", ".join(cls.__members__) or "none: nobody has published any"
                raise KeyError(f"{cls.__name__} has no weights {name!r}; it has {known}")
            return cls[name]
        raise TypeError(
            f"weights must be a {cls.__name__}, its name or None, not {type(weights).__name__}"
        )

    def get_state_dict(
        self, *, progress: bool = True, check_hash: bool = True
    ) -> dict[str, Tensor]:
        """Read the weights onto the CPU; they are downloaded first if they are not at hand.

        Args:
            progress: Whether a download shows a progress bar.
            check_hash: Whether a download is compared with its SHA-256, where that is known; the
                files of this package always are.

        Raises:
            ConnectionError: If the weights cannot be downloaded.
            RuntimeError: If the file is damaged.
        """
        return self.value.state_dict(progress=progress, check_hash=check_hash)

    @property
    def url(self) -> str:
        """Address of the file."""
        return self.value.url

    @property
    def meta(self) -> dict[str, Any]:
        """``bias``, ``num_params``, ``categories``, ``recipe``, ``license``, ``_metrics`` ..."""
        return self.value.meta

    @property
    def transforms(self) -> _Transforms:
        """Zero-argument factory of the input transform."""
        return self.value.transforms

    def __repr__(self) -> str:
        """Name of the enum and of the member."""
        return f"{type(self).__name__}.{self.name}"
