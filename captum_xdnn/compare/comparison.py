"""The result of a comparison, as a table and as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from captum_xdnn.compare.problem import Problem


@dataclass(frozen=True)
class Row:
    r"""One method.

    Attributes:
        method: Its name.
        route: How ``XIntegratedGradients`` computed it; empty for others.
        passes: Work in forward and backward passes of the whole function, by counted
            floating-point operations; NaN where the function has none that torch counts.
        seconds: Median time of a call, after one that is not counted.
        speed_up: How many times faster than the method ``Comparison.speed_up_over``.
        memory: Bytes that a call holds at once, at most; on a CPU or a CUDA device.
        gap: Largest :math:`|\sum_i A_{ni} - (F(x_n) - F(b_n))|` over the examples.
        difference: Mean over the examples of the
            :func:`~captum_xdnn.metrics.attribution_difference` to the reference.
        rank_correlation: Mean of :func:`~captum_xdnn.metrics.rank_correlation` with the reference.
        infidelity: Captum's, mean over the examples; NaN where it was not asked for.
        max_sensitivity: Captum's, mean over the examples; NaN where it was not asked for.
        failure: Why the method gave no attributions, or why not all of this could be measured;
            empty if it was.

    Example:
        >>> Row("mine", failure="RuntimeError: out of memory").method
        'mine'
    """

    method: str
    route: str = ""
    passes: float = float("nan")
    seconds: float = float("nan")
    speed_up: float = float("nan")
    memory: float = float("nan")
    gap: float = float("nan")
    difference: float = float("nan")
    rank_correlation: float = float("nan")
    infidelity: float = float("nan")
    max_sensitivity: float = float("nan")
    failure: str = ""


_HEADS = {
    "method": "method",
    "route": "route",
    "passes": "passes",
    "seconds": "seconds",
    "speed_up": "over {over}",
    "memory": "MiB",
    "gap": "completeness gap",
    "difference": "difference to {reference}",
    "rank_correlation": "rank correlation",
    "infidelity": "infidelity",
    "max_sensitivity": "max-sensitivity",
}


@dataclass(frozen=True)
class Comparison:
    """Methods side by side.

    Attributes:
        rows: One for each method, in the order asked for.
        reference: Name of the method that the others are held against.
        speed_up_over: Name of the method whose time the speed-ups are over.
        attributions: Of each method that gave some, a tuple of tensors of shape ``(B, ...)``.
        problem: What was attributed.

    Example:
        >>> import torch
        >>> from captum_xdnn.compare import compare
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 2, bias=False), torch.nn.ReLU())
        >>> found = compare(net, torch.rand(2, 4), 0, methods=("IG(10)", "Saliency"), perturbations=0)
        >>> [row.method for row in found.rows], found.reference
        (['IG(10)', 'Saliency'], 'IG(10)')
    """

    rows: tuple[Row, ...]
    reference: str
    speed_up_over: str
    attributions: dict[str, tuple[Tensor, ...]]
    problem: Problem

    def __getitem__(self, method: str) -> Row:
        """The row of a method.

        Raises:
            KeyError: If there is none of that name.
        """
        for row in self.rows:
            if row.method == method:
                return row
        raise KeyError(method)

    def to_markdown(self) -> str:
        """A table in Markdown; columns in which no method has a number are left out."""
        names = [name for name in _HEADS if any(_text(row, name) for row in self.rows)]
        heads = [_HEADS[name].format(**vars(self), over=self.speed_up_over) for name in names]
        shown = [row for row in self.rows if row.method in self.attributions]
        cells = [[_text(row, name) for name in names] for row in shown]
        widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
        lines = [_line(row, widths) for row in (heads, ["-" * width for width in widths], *cells)]
        for title, some in (("No attributions", False), ("Not all of it measured", True)):
            failed = [
                f"- {row.method}: {row.failure}"
                for row in self.rows
                if row.failure and (row.method in self.attributions) == some
            ]
            lines += ["", f"{title}:", "", *failed] if failed else []
        return "\n".join(lines)

    def to_frame(self) -> Any:
        """A pandas ``DataFrame``, one row for each method.

        Raises:
            ImportError: If pandas is not installed.
        """
        import pandas

        records = [
            {field.name: getattr(row, field.name) for field in fields(Row)} for row in self.rows
        ]
        return pandas.DataFrame.from_records(records, index="method")

    def plot(self, *, examples: Sequence[int] | None = None, names: Sequence[str] = ()) -> Figure:
        """Heat maps side by side, and quality against time.

        Args:
            examples: Which examples of the batch; None for the first four. Heat maps are drawn of
                images, shape ``(B, C, H, W)``.
            names: A name for each of these examples.

        Returns:
            A matplotlib figure that belongs to no window: ``figure.savefig(path)``.

        Raises:
            IndexError: If there is no such example.
            ValueError: If there are not as many names as examples.
        """
        from captum_xdnn.compare.figures import comparison_figure

        return comparison_figure(self, examples, names)

    def __str__(self) -> str:
        return self.to_markdown()


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"


def _text(row: Row, name: str) -> str:
    value = getattr(row, name)
    if isinstance(value, str):
        return value
    if value != value:  # NaN: nothing to say
        return ""
    if name in ("passes", "rank_correlation"):
        return f"{value:.4g}"
    if name == "speed_up":
        return f"{value:.2f}x"
    if name == "memory":
        return _three_digits(value / 2**20)
    return _three_digits(value) if name == "seconds" else f"{value:.2g}"


def _three_digits(value: float) -> str:
    """Of seconds and MiB there may be thousands, and thousandths; without an exponent if possible."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
