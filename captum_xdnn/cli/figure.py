"""The demo's picture: images and heat maps side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from captum.attr import visualization
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

__all__ = ["Column", "save_heat_maps"]

# Green for positive as in Captum, without Captum's red, which many readers cannot tell from it.
_COLOURS = "PiYG"
_OUTLIER_PERCENT = 5


@dataclass(frozen=True)
class Column:
    """One column of heat maps.

    Args:
        title: Network, method, route.
        attributions: One attribution for each image, shape ``(N, 1, H, W)``.
    """

    title: str
    attributions: Tensor


def save_heat_maps(
    path: Path, images: Tensor, names: Sequence[str], columns: Sequence[Column]
) -> None:
    """Write a PNG file with one row for each image: the image, then its heat maps.

    Captum scales each heat map by itself: the pixels whose absolute attribution is below +-1 hold
    95 % of the total.

    Args:
        path: File to write.
        images: Shape ``(N, 1, H, W)``, values in ``[0, 1]``.
        names: Name of each image.
        columns: Heat maps, from left to right.
    """
    # A figure with its own canvas: pyplot, its backend and its list of open figures stay as the
    # caller has them.
    figure = Figure(
        figsize=(1.75 * (1 + len(columns)), 1.3 * len(names) + 1.4), layout="constrained"
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(names), 1 + len(columns), squeeze=False)
    for row, (image, name) in enumerate(zip(images, names, strict=True)):
        picture = _channels_last(image)
        visualization.visualize_image_attr(
            picture,
            # Captum draws an image of one channel in false colours.
            np.repeat(picture, 3, axis=2),
            method="original_image",
            plt_fig_axis=(figure, axes[row, 0]),
            use_pyplot=False,
        )
        axes[row, 0].set_ylabel(name)
        for place, column in enumerate(columns, start=1):
            visualization.visualize_image_attr(
                _channels_last(column.attributions[row]),
                method="heat_map",
                sign="all",
                plt_fig_axis=(figure, axes[row, place]),
                outlier_perc=_OUTLIER_PERCENT,
                cmap=_COLOURS,
                use_pyplot=False,
            )
    figure.suptitle("Integrated Gradients of the true class, from black", fontsize="medium")
    axes[0, 0].set_title("image", fontsize="medium")
    for place, column in enumerate(columns, start=1):
        axes[0, place].set_title(column.title, fontsize="medium")
        figure.colorbar(
            axes[0, place].images[-1],
            ax=axes[:, place],
            location="bottom",
            fraction=0.01,
            pad=0.01,
            aspect=12,
            ticks=(-1, 0, 1),
            label="attribution, scaled",
        )
    figure.savefig(path, dpi=120)


def _channels_last(image: Tensor) -> npt.NDArray[np.float32]:
    array: npt.NDArray[np.float32] = image.permute(1, 2, 0).numpy()
    return array
