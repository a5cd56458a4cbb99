"""The figure of the experiment on sparsity: test AUROC by method, and against what a step costs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

Row = Mapping[str, str]
EXPECTED = ("eg_1", "eg_8", "eg_32")
"""Expected Gradients as in the paper; the others of that kind are not on their line."""
HIGHLIGHT, PLAIN, REFERENCES = "#c44e52", "#8c8c8c", "#4c72b0"


def draw(
    path: Path, title: str, titles: Mapping[str, str], kept: Mapping[str, Sequence[Row]]
) -> None:
    """Draw means with standard errors.

    Args:
        path: Where the PNG is written.
        title: Name of the table.
        titles: Name of each method, in the order of the bars.
        kept: The rows of each method, one for each repetition.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    bars, costs = figure.subplots(1, 2, width_ratios=(1.15, 1))
    spread = {name: _mean_and_error([float(row["test"]) for row in kept[name]]) for name in kept}
    for place, name in enumerate(reversed(list(titles))):
        mean, error = spread[name]
        bars.barh(place, mean, xerr=error, color=_color(name), capsize=3)
        bars.annotate(
            f"{mean:.3f}", (mean + error, place), (4, 0), textcoords="offset points", va="center"
        )
    bars.set_yticks(range(len(titles)), list(reversed(titles.values())))
    low, high = min(m - e for m, e in spread.values()), max(m + e for m, e in spread.values())
    margin = (high - low) or 0.01
    bars.set_xlim(low - 0.25 * margin, high + 0.3 * margin)
    bars.locator_params(axis="x", nbins=4)
    bars.set_xlabel("test AUROC, mean and standard error")
    bars.spines[["top", "right"]].set_visible(False)

    places = {
        name: (statistics.median(float(row["milliseconds"]) for row in kept[name]), spread[name][0])
        for name in titles
    }
    line = [places[name] for name in titles if name in EXPECTED]
    if line:
        costs.plot(*zip(*line, strict=True), color=REFERENCES, linewidth=1)
    for name, (taken, mean) in places.items():
        costs.errorbar(taken, mean, spread[name][1], fmt="o", color=_color(name), capsize=3)
        if name in EXPECTED or name.startswith("x_"):
            costs.annotate(
                titles[name], (taken, mean), (6, -11), textcoords="offset points", fontsize=8
            )
    costs.set_xscale("log")
    costs.margins(x=0.35, y=0.15)
    costs.set_xlabel("milliseconds a training step, median")
    costs.set_ylabel("test AUROC")
    costs.spines[["top", "right"]].set_visible(False)
    count = max(len(rows) for rows in kept.values())
    figure.suptitle(f"{title}: 100 training subjects, {count} repetitions")
    figure.savefig(path, dpi=130)


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return statistics.mean(values), error


def _color(name: str) -> str:
    if name.startswith("x_"):
        return HIGHLIGHT
    return REFERENCES if name.startswith("eg_") else PLAIN
