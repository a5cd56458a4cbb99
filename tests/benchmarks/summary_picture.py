"""A picture of the summary that opens the page of benchmarks: ``python -m tests.benchmarks.summary_picture``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from captum_xdnn.figures import OURS, THEIRS, new_figure
from tests.benchmarks.summary import BEGIN, END

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"
PICTURE = ROOT / "docs" / "figures" / "benchmarks_summary.png"


def lines_of(page: str) -> list[tuple[str, str, float, float]]:
    """Of each line of the summary: the model, what it gets, the least and the largest ratio."""
    block = page.partition(BEGIN)[2].partition(END)[0]
    found = []
    for line in block.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        ratios = [float(ratio) for ratio in re.findall(r"([\d.]+)x", cells[-1])]
        if len(cells) == 3 and ratios:
            found.append((cells[0], cells[1], ratios[0], ratios[-1]))
    return found


def picture(page: str) -> Any:
    """A bar from the least to the largest ratio of each line, on an axis of powers of ten."""
    lines = lines_of(page)
    figure = new_figure(9, 0.32 * len(lines) + 1.1)
    axes = figure.subplots()
    for place, (_, gets, least, largest) in enumerate(lines):
        colour = THEIRS if "Captum" in gets else OURS
        axes.plot(
            (least, largest), (place, place), "o-", color=colour, linewidth=7, solid_capstyle="butt"
        )
        said = f"{least:.3g}x" if least == largest else f"{least:.3g}x to {largest:.3g}x"
        beside = {"xytext": (9, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(said, (largest, place), fontsize=8, **beside)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set(xscale="log", xlim=(0.7, 1500), ylim=(len(lines) - 0.5, -0.5))
    axes.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
    axes.set_yticks(
        range(len(lines)), [f"{model}: {gets}" for model, gets, *_ in lines], fontsize=8
    )
    axes.set_xlabel("times as fast as Captum's 50 steps, later calls (red: one pass)", fontsize=8)
    axes.grid(axis="x", linewidth=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    picture(PAGE.read_text(encoding="utf-8")).savefig(PICTURE, dpi=110)
