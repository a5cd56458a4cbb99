"""Pictures of a comparison: heat maps side by side, and quality against time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from captum_xdnn.figures import OURS, THEIRS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from captum_xdnn.compare.comparison import Comparison, Row

COLOURS = "PiYG"
"""Green for positive as in Captum, without Captum's red, which many cannot tell from it."""
OUTLIER_PERCENT = 5
FEWEST = 1e-17
"""What a difference of zero is drawn as, on an axis of powers of ten."""


def comparison_figure(
    comparison: Comparison, examples: Sequence[int] | None, names: Sequence[str]
) -> Figure:
    """See ``Comparison.plot``."""
    (images, *others) = comparison.problem.call.inputs
    size = len(images)
    chosen = list(range(min(4, size)) if examples is None else examples)
    if any(not -size <= example < size for example in chosen):
        message = f"examples {chosen} of a batch of {size}"
        raise IndexError(message)
    if names and len(names) != len(chosen):
        message = f"{len(names)} names for {len(chosen)} examples"
        raise ValueError(message)
    drawn = images.dim() == 4 and images.shape[1] in (1, 3) and not others
    maps = len(comparison.attributions) if drawn else 0
    height = 1.5 * len(chosen) + 0.9 if maps else 0.0
    figure = new_figure(max(8.0, 1.6 * (maps + 1)), height + 3.6)
    parts: Any = figure.subfigures(2, 1, height_ratios=(height, 3.6)) if maps else [None, figure]
    if maps:
        heat_maps(
            parts[0],
            images[chosen],
            {name: found[0][chosen] for name, found in comparison.attributions.items()},
            names or [f"example {example}" for example in chosen],
        )
    scatter(parts[1], comparison)
    return figure


def heat_maps(figure: Any, images: Tensor, maps: dict[str, Tensor], names: Sequence[str]) -> None:
    """One row for each image: the image, then its heat maps, by Captum's own visualization.

    Captum scales each heat map by itself: the pixels whose absolute attribution is below +-1 hold
    95 % of the total.

    Args:
        figure: Figure or subfigure.
        images: Shape ``(N, C, H, W)``.
        maps: For each title attributions of that shape, or with one channel.
        names: Name of each image.
    """
    from captum.attr import visualization

    axes = figure.subplots(len(names), 1 + len(maps), squeeze=False)
    for row, (image, name) in enumerate(zip(images, names, strict=True)):
        picture = np.nan_to_num(_channels_last(image))
        shown = (picture - picture.min()) / max(float(np.ptp(picture)), FEWEST)
        visualization.visualize_image_attr(
            # Captum scales an attribution here too, which it does not draw, and zeros it cannot.
            np.ones_like(picture),
            # Captum draws an image of one channel in false colours.
            np.repeat(shown, 3, axis=2) if shown.shape[2] == 1 else shown,
            method="original_image",
            plt_fig_axis=(figure, axes[row, 0]),
            use_pyplot=False,
        )
        axes[row, 0].set_ylabel(name)
        for place, found in enumerate(maps.values(), start=1):
            array = _channels_last(found[row]).sum(2, keepdims=True)
            largest = np.abs(array).max()
            if 0 < largest < np.inf:
                visualization.visualize_image_attr(
                    array / largest,  # Captum warns of values that it takes for zero
                    method="heat_map",
                    sign="all",
                    plt_fig_axis=(figure, axes[row, place]),
                    outlier_perc=OUTLIER_PERCENT,
                    cmap=COLOURS,
                    use_pyplot=False,
                )
            else:  # Captum cannot scale these
                blank = np.zeros(array.shape[:2])
                axes[row, place].imshow(blank, cmap=COLOURS, vmin=-1, vmax=1)
                axes[row, place].set_axis_off()
                said = "all zero" if largest == 0 else "not finite"
                middle = {"transform": axes[row, place].transAxes, "ha": "center", "va": "center"}
                axes[row, place].text(0.5, 0.5, said, fontsize="small", **middle)
    axes[0, 0].set_title("image", fontsize="medium")
    for place, title in enumerate(maps, start=1):
        axes[0, place].set_title(title, fontsize="medium")
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


def scatter(figure: Any, comparison: Comparison) -> None:
    """The difference to the reference, and the completeness gap, against the seconds of a call."""
    rows = [row for row in comparison.rows if row.method in comparison.attributions]
    left, right = figure.subplots(1, 2)
    others = [row for row in rows if row.method != comparison.reference]
    _points(left, others, [row.difference for row in others])
    left.set_ylabel(f"difference to {comparison.reference}")
    _points(right, rows, [row.gap for row in rows])
    right.set_ylabel("completeness gap")


def _points(axes: Any, rows: Sequence[Row], values: Sequence[float]) -> None:
    pairs = zip(rows, values, strict=True)
    drawn = [(row, v) for row, v in pairs if np.isfinite(v) and np.isfinite(row.seconds)]
    drawn.sort(key=lambda pair: pair[0].seconds)
    for place, (row, value) in enumerate(drawn):
        point = (row.seconds, max(value, FEWEST))
        ours = bool(row.route)
        axes.plot(*point, "o", color=OURS if ours else THEIRS, markersize=8 if ours else 6)
        # Methods that agree are on one line: every other name is below it.
        shift = (5, -12) if place % 2 else (5, 4)
        axes.annotate(row.method, point, shift, textcoords="offset points", fontsize=8)
    if drawn:
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.margins(x=0.25, y=0.15)
    axes.tick_params(which="both", labelsize=8)
    axes.set_xlabel("seconds a call")
    axes.spines[["top", "right"]].set_visible(False)


def _channels_last(image: Tensor) -> npt.NDArray[np.float32]:
    array: npt.NDArray[np.float32] = image.detach().cpu().float().permute(1, 2, 0).numpy()
    return array
