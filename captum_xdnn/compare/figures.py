"""Pictures of a comparison: heat maps or bars side by side, and what each method costs and gives."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from captum_xdnn.figures import OURS, THEIRS

COLOURS = "PiYG"
"""Green for positive as in Captum, without Captum's red, which many cannot tell from it."""
OUTLIER_PERCENT = 5
SMALLEST = 1e-17
FOR, AGAINST = "#4d9221", "#c51b7d"
"""The ends of these colours, for bars."""
MOST_BARS = 10
PLAIN: Any = {"parse_math": False}
"""Names are text: a dollar in one of them begins no formula."""
LEVEL: Any = {"rotation": 0, "ha": "right", "va": "center", "fontsize": "small", **PLAIN}


@dataclass(frozen=True)
class Part:
    """A part of a figure, in inches, and what draws it into a subfigure of that size."""

    width: float
    height: float
    draw: Callable[[Any], None]


def parts_of(
    images: Sequence[Tensor | None],
    attributions: Mapping[str, tuple[Tensor, ...]],
    reference: str,
    names: Sequence[str],
    features: Sequence[str],
) -> list[Part]:
    """What is drawn of attributions of a few examples: images as heat maps, rows as bars.

    ``images`` has for each tensor of attributions the image that lies under it, None where there is none.
    """
    theirs, parts = attributions[reference], []
    for place, (image, found) in enumerate(zip(images, theirs, strict=True)):
        if image is not None and found.dim() == 4:
            maps = {
                method: given[place]
                for method, given in attributions.items()
                if len(given) == len(theirs) and given[place].dim() == 4
            }
            width, height = 1.6 * (len(maps) + 1) + 0.9, 1.5 * len(names) + 1.1
            parts.append(Part(width, height, partial(_maps_into, image, maps, names)))
    places = [place for place, found in enumerate(theirs) if found.dim() in (1, 2)]
    if not places:
        return parts
    rows = {
        method: np.concatenate([_rows(given[place]) for place in places], axis=1)
        for method, given in attributions.items()
        if [f.shape for f in given] == [t.shape for t in theirs]
    }
    widths = [_rows(theirs[place]).shape[1] for place in places]
    given_names = list(features) or [
        f"feature {n}" if len(places) == 1 else f"input {place}, {n}"
        for place, width in zip(places, widths, strict=True)
        for n in range(width)
    ]
    if len(given_names) != sum(widths):
        raise ValueError(f"{len(given_names)} names for {sum(widths)} features")
    height = len(names) * (0.5 + 0.17 * min(MOST_BARS, sum(widths))) + 0.6
    draw = partial(_bars_into, rows, reference, names, given_names)
    return [*parts, Part(2.4 + 1.5 * len(rows), height, draw)]


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
        picture = (picture - picture.min()) / max(float(np.ptp(picture)), SMALLEST)
        # One channel alone would be drawn in false colours.
        table[row, 0].imshow(np.broadcast_to(picture, (*picture.shape[:2], 3)))
        table[row, 0].set(xticks=[], yticks=[])
        table[row, 0].set_ylabel(folded(name), **LEVEL)
        for axes, found in zip(table[row, 1:], maps.values(), strict=True):
            _heat_map(figure, axes, _channels_last(found[row]).sum(2, keepdims=True))
    table[0, 0].set_title("image", fontsize="small")
    for column, title in zip(table.T[1:], maps, strict=True):
        column[0].set_title(folded(title), fontsize="small", **PLAIN)
    thin: Any = {"location": "bottom", "fraction": 0.02, "pad": 0.02, "aspect": 40, "shrink": 0.5}
    bar = figure.colorbar(table[0, -1].images[-1], ax=table[:, 1:], ticks=(-1, 0, 1), **thin)
    bar.set_label("attribution, each map scaled by itself", fontsize="small")


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


def _maps_into(
    image: Tensor, maps: Mapping[str, Tensor], names: Sequence[str], figure: Any
) -> None:
    heat_maps(figure, image, maps, names)


def _bars_into(
    rows: Mapping[str, npt.NDArray[np.float32]],
    reference: str,
    names: Sequence[str],
    features: Sequence[str],
    figure: Any,
) -> None:
    """A row of bars for each example and method: the features that matter most to the reference."""
    count = min(MOST_BARS, len(features))
    table = figure.subplots(len(names), len(rows), squeeze=False, sharey="row")
    for row, name in enumerate(names):
        most = np.argsort(-np.abs(np.nan_to_num(rows[reference][row])), kind="stable")[:count]
        for axes, found in zip(table[row], rows.values(), strict=True):
            _bars(axes, found[row][most])
        shown = (
            folded(name)
            if count == len(features)
            else f"{folded(name)}\n{count} of {len(features)}"
        )
        table[row, 0].set_ylabel(shown, **LEVEL)
        labels = [shortened(features[feature], 22) for feature in most]
        table[row, 0].set_yticks(range(count), labels, fontsize=7, **PLAIN)
        table[row, 0].invert_yaxis()
    for axes, title in zip(table[0], rows, strict=True):
        axes.set_title(folded(title), fontsize="small", **PLAIN)


def _bars(axes: Any, values: npt.NDArray[np.float32]) -> None:
    known = np.where(np.isfinite(values), values, 0)
    axes.barh(range(len(values)), known, color=np.where(known < 0, AGAINST, FOR), height=0.7)
    axes.axvline(0, color="black", linewidth=0.5)
    axes.locator_params(axis="x", nbins=3)
    axes.tick_params(labelsize=7, length=2)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.get_offset_text().set_fontsize(7)
    axes.spines[["top", "right", "left"]].set_visible(False)
    if not known.any():
        axes.set(xlim=(-1, 1), xticks=[])
    if not np.isfinite(values).all() or not known.any():
        said = "all zero" if np.isfinite(values).all() else "not finite"
        middle = {"transform": axes.transAxes, "ha": "center", "va": "center"}
        axes.text(0.5, 0.5, said, fontsize="small", **middle)


def dots(
    figure: Any,
    methods: Sequence[str],
    measures: Mapping[str, Sequence[float]],
    ours: Sequence[bool],
) -> None:
    """A line for each method, with a dot and a number for each measure that is known of it."""
    table = figure.subplots(1, len(measures), sharey=True)
    for axes, (label, values) in zip(table, measures.items(), strict=True):
        known = [value for value in values if np.isfinite(value)]
        least = min((value for value in known if value > 0), default=SMALLEST)
        for line, (value, own) in enumerate(zip(values, ours, strict=True)):
            if np.isfinite(value):
                # Zero has no place on an axis of powers of ten; its number says what it is.
                where = (value if value > 0 else least / 10, line)
                axes.plot(*where, "o", color=OURS if own else THEIRS, markersize=6)
                beside: Any = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
                axes.annotate(f"{value:.2g}", where, fontsize=7, **beside)
        if known:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter("")
        else:
            axes.set_xticks([])
        axes.margins(x=0.3)
        axes.set_xlabel(folded(label, 30), fontsize="small", **PLAIN)
        axes.tick_params(which="both", labelsize=7)
        axes.grid(axis="y", linewidth=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    table[0].set_yticks(range(len(methods)), [shortened(m, 40) for m in methods], **PLAIN)
    table[0].set_ylim(len(methods) - 0.5, -0.5)


def shortened(name: str, most: int) -> str:
    """A name in one line of so many characters, without its middle if it is longer."""
    name, half = " ".join(name.split()), (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def folded(name: str, most: int = 18) -> str:
    """A name in lines of so many characters, of which there are three; ``LayerGradCam`` has three words."""
    lines = [""]
    for word in re.findall(r"[A-Z]*[^A-Z\s]*\s?", shortened(name, 3 * most)):
        for piece in (word[i : i + most] for i in range(0, len(word), most)):
            if len(lines[-1]) + len(piece.rstrip()) > most:
                lines.append("")
            lines[-1] += piece
    return "\n".join(line.strip() for line in lines)


def _rows(found: Tensor) -> npt.NDArray[np.float32]:
    array: npt.NDArray[np.float32] = found.detach().cpu().float().reshape(len(found), -1).numpy()
    return array


def _channels_last(image: Tensor) -> npt.NDArray[np.float32]:
    array: npt.NDArray[np.float32] = image.detach().cpu().float().permute(1, 2, 0).numpy()
    return array
