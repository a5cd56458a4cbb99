"""Figures without pyplot, which notebooks show."""

from io import BytesIO

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

OURS, THEIRS = "#c44e52", "#4c72b0"


class NotebookFigure(Figure):
    """A figure without pyplot. IPython shows other figures only where pyplot has been set up."""

    def _repr_png_(self) -> bytes:
        """The picture, under the name by which IPython asks for it."""
        buffer = BytesIO()
        self.savefig(buffer, format="png", dpi=100)
        return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """A figure of its own: pyplot, its backend and its open figures stay as the caller has them."""
    figure = NotebookFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
