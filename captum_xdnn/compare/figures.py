"""Pictures of a comparison: heat maps side by side, and quality against time."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from captum_xdnn.figures import OURS, THEIRS

COLOURS = "PiYG"
"""Green for positive as in Captum, without Captum's red, which many cannot tell from it."""
OUTLIER_PERCENT = 5
FEWEST = 1e-17
"""What a difference of zero is drawn as, on an axis of powers of ten."""


def heat_maps(
    figure: Any, images: Tensor, maps: Mapping[str, Tensor], names: Sequence[str]
) -> None:
    """One row for each image: the image, then its heat maps, by Captum's own visualization.

    Captum scales each heat map by itself: the pixels whose absolute attribution is below +-1 hold
    95 % of the total. ``maps`` has for each title attributions of the images' shape ``(N, C, H, W)``,
    or with one channel.
    """
    table = figure.subplots(len(names), 1 + len(maps), squeeze=False)
    for row, image, name in zip(range(len(names)), images, names, strict=True):
        picture = np.nan_to_num(_channels_last(image))
        picture = (picture - picture.min()) / max(float(np.ptp(picture)), FEWEST)
        # One channel alone would be drawn in false colours.
        table[row, 0].imshow(np.broadcast_to(picture, (*picture.shape[:2], 3)))
        table[row, 0].set(xticks=[], yticks=[], ylabel=name)
        for axes, found in zip(table[row, 1:], maps.values(), strict=True):
            _heat_map(figure, axes, _channels_last(found[row]).sum(2, keepdims=True))
    table[0, 0].set_title("image", fontsize="medium")
    for column, title in zip(table.T[1:], maps, strict=True):
        column[0].set_title(title, fontsize="medium")
        thin = {"location": "bottom", "fraction": 0.01, "pad": 0.01, "aspect": 12}
        scale = {"ticks": (-1, 0, 1), "label": "attribution, scaled"}
        figure.colorbar(column[0].images[-1], ax=column, **thin, **scale)


def _heat_map(figure: Any, axes: Any, attribution: npt.NDArray[np.float32]) -> None:
    from captum.attr import visualization

    largest = np.abs(attribution).max()
    if 0 < largest < np.inf:
        visualization.visualize_image_attr(
            attribution / largest,  # Captum warns of values that it takes for zero
            method="heat_map",
            sign="all",
            plt_fig_axis=(figure, axes),
            outlier_perc=OUTLIER_PERCENT,
            cmap=COLOURS,
            use_pyplot=False,
        )
    else:  # Captum cannot scale these
        axes.imshow(np.zeros(attribution.shape[:2]), cmap=COLOURS, vmin=-1, vmax=1)
        axes.set_axis_off()
        said = "all zero" if largest == 0 else "not finite"
        middle = {"transform": axes.transAxes, "ha": "center", "va": "center"}
        axes.text(0.5, 0.5, said, fontsize="small", **middle)


def scatter(
    axes: Any, label: str, points: Mapping[str, tuple[float, float]], ours: Container[str]
) -> None:
    """A point for each method of which seconds and value are known, the value on the vertical axis."""
    drawn = {method: point for method, point in points.items() if np.isfinite(point).all()}
    for place, method in enumerate(sorted(drawn, key=lambda method: drawn[method][0])):
        seconds, value = drawn[method]
        where = (seconds, max(value, FEWEST))
        colour, size = (OURS, 8) if method in ours else (THEIRS, 6)
        axes.plot(*where, "o", color=colour, markersize=size)
        # Methods that agree are on one line: every other name is below it.
        shift = (5, -12) if place % 2 else (5, 4)
        axes.annotate(method, where, shift, textcoords="offset points", fontsize=8)
    if drawn:
        axes.set(xscale="log", yscale="log")
    axes.margins(x=0.25, y=0.15)
    axes.tick_params(which="both", labelsize=8)
    axes.set(xlabel="seconds a call", ylabel=label)
    axes.spines[["top", "right"]].set_visible(False)


def _channels_last(image: Tensor) -> npt.NDArray[np.float32]:
    array: npt.NDArray[np.float32] = image.detach().cpu().float().permute(1, 2, 0).numpy()
    return array
