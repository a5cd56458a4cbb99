"""The result of a comparison, as a table and as pictures."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from captum_xdnn.compare.figures import heat_maps, scatter
from captum_xdnn.compare.problem import Problem
from captum_xdnn.figures import new_figure


@dataclass(frozen=True)
class Row:
    r"""One method.

    Attributes:
        method: Its name.
        route: How a class of this package computed it; empty for others.
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


def _three_digits(value: float) -> str:
    """Of seconds and MiB there may be thousands, and thousandths; without an exponent if possible."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


_COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "method": ("method", str),
    "route": ("route", str),
    "passes": ("passes", "{:.4g}".format),
    "seconds": ("seconds", _three_digits),
    "speed_up": ("over {speed_up_over}", "{:.2f}x".format),
    "memory": ("MiB", lambda held: _three_digits(held / 2**20)),
    "gap": ("completeness gap", "{:.2g}".format),
    "difference": ("difference to {reference}", "{:.2g}".format),
    "rank_correlation": ("rank correlation", "{:.4g}".format),
    "infidelity": ("infidelity", "{:.2g}".format),
    "max_sensitivity": ("max-sensitivity", "{:.2g}".format),
}
"""For each field of a row its head in the table, formatted with the comparison, and how its value is written."""


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
        return {row.method: row for row in self.rows}[method]

    def to_markdown(self) -> str:
        """A table in Markdown; columns in which no method has a number are left out."""
        names = [name for name in _COLUMNS if any(_text(row, name) for row in self.rows)]
        heads = [_COLUMNS[name][0].format(**vars(self)) for name in names]
        shown = [row for row in self.rows if row.method in self.attributions]
        cells = [[_text(row, name) for name in names] for row in shown]
        widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
        table = (heads, ["-" * width for width in widths], *cells)
        lines = [f"| {' | '.join(map(str.ljust, line, widths))} |" for line in table]
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

        return pandas.DataFrame.from_records([vars(row) for row in self.rows], index="method")

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
        (images, *further) = self.problem.call.inputs
        size = len(images)
        chosen = list(range(min(4, size)) if examples is None else map(operator.index, examples))
        if any(not -size <= example < size for example in chosen):
            raise IndexError(f"examples {chosen} of a batch of {size}")
        if names and len(names) != len(chosen):
            raise ValueError(f"{len(names)} names for {len(chosen)} examples")
        maps = {}
        if images.dim() == 4 and images.shape[1] in (1, 3) and not further:
            maps = {method: found[0][chosen] for method, found in self.attributions.items()}
        height = 1.5 * len(chosen) + 0.9 if maps else 0.0
        figure = new_figure(max(8.0, 1.6 * (len(maps) + 1)), height + 3.6)
        below: Any = figure
        if maps:
            parts: Any = figure.subfigures(2, 1, height_ratios=(height, 3.6))
            above, below = parts
            heat_maps(above, images[chosen], maps, names or [f"example {n}" for n in chosen])
        left, right = below.subplots(1, 2)
        rows = [row for row in self.rows if row.method in self.attributions]
        others = [row for row in rows if row.method != self.reference]
        ours = {row.method for row in rows if row.route}
        differences = {row.method: (row.seconds, row.difference) for row in others}
        scatter(left, f"difference to {self.reference}", differences, ours)
        scatter(right, "completeness gap", {r.method: (r.seconds, r.gap) for r in rows}, ours)
        return figure

    def __str__(self) -> str:
        return self.to_markdown()


def _text(row: Row, name: str) -> str:
    value = getattr(row, name)
    return "" if value != value else _COLUMNS[name][1](value)  # NaN: nothing to say
