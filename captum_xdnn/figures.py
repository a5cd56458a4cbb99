"""Figures without pyplot. matplotlib is imported when one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OURS, THEIRS = "#c44e52", "#4c72b0"


def new_figure(width: float, height: float) -> Figure:
    """A figure of its own: pyplot, its backend and its open figures stay as the caller has them.

    Args:
        width: In inches.
        height: In inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
