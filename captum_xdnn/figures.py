"""Figures without pyplot. matplotlib is imported when one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OURS, THEIRS = "#c44e52", "#4c72b0"


def new_figure(width: float, height: float) -> Figure:
    """A figure of its own: pyplot, its backend and its open figures stay as the caller has them.

    A notebook shows it where it is the value of a cell.
    """
    from captum_xdnn.notebook_figure import NotebookFigure

    return NotebookFigure.of_size(width, height)
