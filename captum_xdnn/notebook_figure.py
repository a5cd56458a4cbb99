"""A matplotlib figure that a notebook shows when it is the value of a cell."""

from __future__ import annotations

from io import BytesIO

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """A figure without pyplot. IPython shows other figures only where pyplot has been set up."""

    @classmethod
    def of_size(cls, width: float, height: float) -> NotebookFigure:
        """A new figure."""
        figure = cls(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        return figure

    def _repr_png_(self) -> bytes:
        """The picture, under the name by which IPython asks for it."""
        buffer = BytesIO()
        self.savefig(buffer, format="png", dpi=100)
        return buffer.getvalue()
