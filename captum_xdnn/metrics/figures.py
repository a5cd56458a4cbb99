"""Pictures of the metrics. matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from captum_xdnn.figures import OURS, THEIRS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from captum_xdnn.metrics.convergence import Convergence
    from captum_xdnn.metrics.masking import MaskingCurve

SMALLEST = 1e-17
"""What a difference of zero is drawn as, on an axis of powers of ten."""
WIDEST = 3.5
"""Width of the first method's line: of equal curves each shows beneath the next."""


def convergence_figure(found: Convergence) -> Figure:
    """See ``Convergence.plot``."""
    figure = new_figure(6, 4)
    axes = figure.subplots()
    values = [max(float(v), SMALLEST) for v in found.values]
    axes.plot(found.steps, values, "o-", color=THEIRS, label="Captum, n steps")
    ours = max(float(found.ours.mean()), SMALLEST)
    # On the other routes it is a sum, too, and goes down with its own number of steps.
    steps = "" if found.route == "single_pass" else f", {found.our_steps} steps"
    label = f"XIntegratedGradients ({found.route}{steps})"
    axes.axhline(ours, color=OURS, linestyle="--", label=label)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(found.steps, [str(count) for count in found.steps])
    axes.set_xlabel("steps")
    axes.set_ylabel(f"difference to IG({found.reference_steps})")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def masking_figure(curves: Mapping[str, Sequence[MaskingCurve]]) -> Figure:
    """Masking curves of several methods, one picture for each metric.

    Args:
        curves: For each method its curves, of the same metrics for all.

    Returns:
        A matplotlib figure that belongs to no window.

    Raises:
        ValueError: If there are no curves, or the methods have other metrics.

    Example:
        >>> import torch
        >>> from captum_xdnn.metrics import MaskingCurve
        >>> curve = MaskingCurve("KPM", (0.1, 1.0), torch.rand(3, 2))
        >>> masking_figure({"one pass": [curve]}).axes[0].get_title()
        'KPM'
    """
    metrics = {tuple(curve.metric for curve in of_method) for of_method in curves.values()}
    if len(metrics) != 1 or not next(iter(metrics)):
        message = f"each method needs curves of the same metrics, found {sorted(metrics)}"
        raise ValueError(message)
    (names,) = metrics
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure = new_figure(3.6 * columns, (2.8 + 0.16 * len(curves)) * lines)
    panels = figure.subplots(lines, columns, squeeze=False).flatten()
    for place, (axes, metric) in enumerate(zip(panels, names, strict=False)):
        for order, (method, of_method) in enumerate(curves.items()):
            curve = of_method[place]
            label = f"{method}: {curve.area:.2f}"
            width = WIDEST - (WIDEST - 1) * order / len(curves)
            axes.plot(curve.fractions, curve.values.cpu(), label=label, linewidth=width)
        axes.set_xscale("log")
        axes.set_title(metric)
        axes.set_xlabel("fraction of the pixels")
        axes.set_ylabel("accuracy in %" if metric.endswith("AM") else "mean output")
        axes.legend(
            fontsize=7,
            title="area",
            title_fontsize=7,
            frameon=False,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.18),
        )
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    return figure
