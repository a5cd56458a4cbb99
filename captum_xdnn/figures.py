"""Figures without pyplot, and tables, which notebooks show."""

from collections.abc import Sequence
from html import escape
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


def html_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A plain table, of the notebook's own style; what stands in it is text, whatever it looks like."""

    def line(cells: Sequence[str], tag: str) -> str:
        spaced = (
            ' style="padding: 0.2em 0.6em; text-align: left"'  # pages without a style of their own
        )
        return f"<tr>{''.join(f'<{tag}{spaced}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    table = f"<table><thead>{line(heads, 'th')}</thead><tbody>{body}</tbody></table>"
    return f'<div style="overflow-x: auto">{table}</div>'
