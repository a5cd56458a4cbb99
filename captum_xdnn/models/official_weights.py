"""The weights that the authors of the paper published, and what is known of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor

from captum_xdnn.models.downloads import downloaded_state_dict

__all__ = ["OfficialWeights", "imagenet_categories", "imagenet_transforms", "official_url"]

_RECIPE = "https://github.com/visinf/fast-axiomatic-attribution/tree/main/imagenet"
_PAPER = "https://arxiv.org/abs/2111.07668"
_LICENSE = (
    "not stated for the weights; the authors' repository, which links them, is under Apache-2.0"
)
_METRICS_SOURCE = "reported by the authors (Hesse et al. 2021, Sec. 4.1); not measured again here"


def official_url(file: str) -> str:
    """Address of one of the official checkpoints.

    Returns:
        The URL.
    """
    folder = "2021-neurips-fast-axiomatic-attribution/models"
    return f"https://download.visinf.tu-darmstadt.de/data/{folder}/{file}"


def imagenet_transforms() -> Callable[[Any], Tensor]:
    """Make the input transform of the paper, which is torchvision's for classification.

    Resize the shorter side to 256, crop the central 224 x 224, scale to ``[0, 1]``, subtract the
    mean ``(.485, .456, .406)`` and divide by ``(.229, .224, .225)``. In the normalised space, where
    these networks are homogeneous, the baseline 0 is the image of the mean colour.

    Source: Hesse et al. 2021, Sec. 4.1.

    Returns:
        A transform of a PIL image or a tensor of shape ``(3, H, W)`` or ``(N, 3, H, W)``.

    Raises:
        ModuleNotFoundError: If torchvision is not installed.
    """
    from torchvision.models import AlexNet_Weights  # torchvision is loaded on first use

    return cast(Callable[[Any], Tensor], AlexNet_Weights.IMAGENET1K_V1.transforms())


def imagenet_categories() -> list[str] | None:
    """Names of the 1000 classes of ImageNet-1K.

    Returns:
        The names by index, or None if torchvision, which knows them, is not installed.
    """
    if importlib.util.find_spec("torchvision") is None:
        return None
    from torchvision.models import AlexNet_Weights  # torchvision is loaded on first use

    return list(AlexNet_Weights.IMAGENET1K_V1.meta["categories"])


@dataclass(frozen=True)
class OfficialWeights:
    """One checkpoint that the authors trained on ImageNet-1K.

    Args:
        url: Address of the checkpoint.
        bias: Whether it is of the network with biases.
        num_params: Number of parameters.
        min_size: Height and width of the smallest input.
        acc5: Top-5 accuracy on the validation images in per cent, as the authors report it.
        sha256: SHA-256 of the file. None, since the authors publish none.
        transforms: Zero-argument factory of the input transform.
        num_classes: Number of logits.
    """

    url: str
    bias: bool
    num_params: int
    min_size: tuple[int, int]
    acc5: float
    sha256: str | None = None
    transforms: Callable[[], Callable[[Any], Tensor]] = imagenet_transforms
    num_classes: int = 1000

    @property
    def meta(self) -> dict[str, Any]:
        """Facts under torchvision's keys; ``categories`` is None without torchvision."""
        return {
            "bias": self.bias,
            "num_params": self.num_params,
            "categories": imagenet_categories(),
            "min_size": self.min_size,
            "recipe": _RECIPE,
            "paper": _PAPER,
            "license": _LICENSE,
            "sha256": self.sha256,
            "_metrics": {"ImageNet-1K": {"acc@5": self.acc5}},
            "metrics_source": _METRICS_SOURCE,
        }

    def state_dict(self, *, progress: bool, check_hash: bool) -> dict[str, Tensor]:
        """Read the weights, which are downloaded first if they are not at hand.

        Args:
            progress: Whether a download shows a progress bar.
            check_hash: Whether a download is compared with its SHA-256, where that is known.

        Returns:
            Parameters by name, on the CPU.

        Raises:
            ConnectionError: If the weights cannot be downloaded.
            RuntimeError: If what was downloaded is damaged.
        """
        sha256 = self.sha256 if check_hash else None
        return downloaded_state_dict(self.url, sha256=sha256, progress=progress)
