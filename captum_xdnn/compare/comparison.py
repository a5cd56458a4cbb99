"""The result of a comparison, as a table and as pictures."""

import math
import operator
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from captum_xdnn.compare.figures import Part, dots, parts_of
from captum_xdnn.compare.problem import Problem
from captum_xdnn.figures import html_table, new_figure


@dataclass(frozen=True)
class Row:
    r"""One method.

    Attributes:
        method: Its name.
        route: How a class of this package computed it; empty for others.
        passes: Work in forward and backward passes of the whole function, by counted
            floating-point operations; NaN where the function has none that torch counts.
        seconds: Median time of a call, after one that is not counted.
        first_seconds: Time of that one, which for a class of this package includes the proof
            unless the function has been attributed before.
        speed_up: How many times faster than the method ``Comparison.speed_up_over``: the median of
            ``speed_ups``.
        speed_ups: How many times faster in each round. Where it is not at least 1.15 in all of them, or
            at most 1 / 1.15, tables say "about 1x".
        memory: Bytes that a call holds at once, at most; on a CPU or a CUDA device.
        gap: Largest :math:`|\sum_i A_{ni} - (F(x_n) - F(b_n))|` over the examples.
        difference: Mean over the examples of the
            :func:`~captum_xdnn.metrics.attribution_difference` to the reference; NaN where its
            attributions are of another shape, or no real numbers of floating point.
        same_steps: The same to Captum's own class with the same arguments, so at as many steps; NaN
            for a method that is not of this package.
        rank_correlation: Mean of :func:`~captum_xdnn.metrics.rank_correlation` with the reference.
        infidelity: Captum's, mean over the examples; NaN where it was not asked for.
        max_sensitivity: Captum's, mean over the examples; NaN where it was not asked for.
        reason: Why a class of this package took more than a single pass, by its certificate; empty
            if it did not.
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
    first_seconds: float = float("nan")
    speed_up: float = float("nan")
    speed_ups: tuple[float, ...] = ()
    memory: float = float("nan")
    gap: float = float("nan")
    difference: float = float("nan")
    same_steps: float = float("nan")
    rank_correlation: float = float("nan")
    infidelity: float = float("nan")
    max_sensitivity: float = float("nan")
    reason: str = ""
    failure: str = ""


def _three_digits(value: float) -> str:
    """Of seconds and MiB there may be thousands, and thousandths; without an exponent if possible."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


NOISE = 1.15
"""Ratios of times nearer to 1 are those of two equal calls, too."""


def _times(ratios: Sequence[float]) -> str:
    """A ratio of times, if it is larger than their noise in every round."""
    if not ratios:
        return ""
    if set(ratios) != {1} and min(ratios) < NOISE and max(ratios) > 1 / NOISE:
        return "about 1x"
    return f"{statistics.median(ratios):.2f}x"


_COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "method": ("method", str),
    "route": ("route", str),
    "passes": ("passes", "{:.4g}".format),
    "seconds": ("seconds", _three_digits),
    "first_seconds": ("first call", _three_digits),
    "speed_ups": ("over {speed_up_over}", _times),
    "memory": ("MiB", lambda held: _three_digits(held / 2**20)),
    "gap": ("completeness gap", "{:.2g}".format),
    "difference": ("difference to {reference}", "{:.2g}".format),
    "same_steps": ("to Captum's, same steps", "{:.2g}".format),
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

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """Heads and cells; columns in which no method has a number are left out."""
        names = [name for name in _COLUMNS if any(_text(row, name) for row in self.rows)]
        shown = [row for row in self.rows if row.method in self.attributions]
        heads = [_COLUMNS[name][0].format(**vars(self)) for name in names]
        return heads, [[_text(row, name) for name in names] for row in shown]

    def _notes(self) -> list[tuple[str, list[str]]]:
        """What there is to say below the table: a title, then a line for all methods that it is true of."""
        given, notes = self.attributions, []
        for title, told in (
            ("Why not a single pass", [(row, row.reason) for row in self.rows]),
            ("No attributions", [(r, r.failure) for r in self.rows if r.method not in given]),
            ("Not all of it measured", [(r, r.failure) for r in self.rows if r.method in given]),
        ):
            said: dict[str, list[str]] = {}
            for row, text in told:
                said.setdefault(text, []).append(row.method)
            lines = [f"{', '.join(names)}: {text}" for text, names in said.items() if text]
            notes += [(title, lines)] if lines else []
        return notes

    def to_markdown(self) -> str:
        """A table in Markdown; columns in which no method has a number are left out."""
        heads, rows = self._table()
        heads, *cells = [[_plain(cell) for cell in line] for line in (heads, *rows)]
        widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
        table = (heads, ["-" * width for width in widths], *cells)
        lines = [f"| {' | '.join(map(str.ljust, line, widths))} |" for line in table]
        for title, said in self._notes():
            lines += ["", f"{title}:", "", *(f"- {line}" for line in said)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The same in HTML, under the name by which notebooks ask for it."""
        notes = [
            f"<p>{escape(title)}:</p><ul>{''.join(f'<li>{escape(line)}</li>' for line in said)}</ul>"
            for title, said in self._notes()
        ]
        return html_table(*self._table()) + "".join(notes)

    def to_frame(self) -> Any:
        """A pandas ``DataFrame``, one row for each method.

        Raises:
            ImportError: If pandas is not installed.
        """
        import pandas

        return pandas.DataFrame.from_records([vars(row) for row in self.rows], index="method")

    def plot(
        self,
        *,
        examples: Sequence[int] | None = None,
        names: Sequence[str] = (),
        features: Sequence[str] = (),
    ) -> Figure:
        """Attributions side by side, and below them time, differences and gaps of each method.

        Args:
            examples: Which examples of the batch; None for the first four. Heat maps are drawn of
                images, shape ``(B, C, H, W)``, and of layers under them; bars of rows, shape ``(B, N)``
                or ``(B,)``, those features that the reference finds most important.
            names: A name for each of these examples.
            features: A name for each feature of the rows, those of all inputs one after the other.

        Returns:
            A matplotlib figure that belongs to no window: ``figure.savefig(path)``.

        Raises:
            IndexError: If there is no such example.
            ValueError: If there are not as many names as examples, or as features.
        """
        size = self.problem.call.size
        chosen = list(range(min(4, size)) if examples is None else map(operator.index, examples))
        if any(not -size <= example < size for example in chosen):
            raise IndexError(f"examples {chosen} of a batch of {size}")
        if names and len(names) != len(chosen):
            raise ValueError(f"{len(names)} names for {len(chosen)} examples")
        names = names or [f"example {n}" for n in chosen]
        drawn = self._drawn(chosen, names, features)
        rows = [row for row in self.rows if row.method in self.attributions]
        heights = [*(part.height for part in drawn), 0.9 + 0.26 * len(rows)]
        width = max(8.0, *(part.width for part in drawn), 0.0)
        figure = new_figure(width, sum(heights))
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part, place in zip(drawn, parts, strict=False):
            part.draw(place)
        measures = {
            "seconds a call": [row.seconds for row in rows],
            f"difference to {self.reference}": [
                math.nan if row.method == self.reference else row.difference for row in rows
            ],
            "completeness gap": [row.gap for row in rows],
        }
        dots(parts[-1], [row.method for row in rows], measures, [bool(row.route) for row in rows])
        return figure

    def _drawn(
        self, chosen: list[int], names: Sequence[str], features: Sequence[str]
    ) -> list[Part]:
        """What is drawn of the attributions of some examples."""
        inputs, size = self.problem.call.inputs, self.problem.call.size
        images = [x[chosen] if x.dim() == 4 and x.shape[1] in (1, 3) else None for x in inputs]
        given = {
            method: tuple(part[chosen] for part in found)
            for method, found in self.attributions.items()
            if all(len(part) == size for part in found)
        }
        if self.reference not in given:
            return []  # a layer whose batch does not come first
        if self.problem.layer is not None:
            under = next((image for image in images if image is not None), None)
            images = [under] * len(given[self.reference])
        return parts_of(images, given, self.reference, names, features)

    def __str__(self) -> str:
        return self.to_markdown()


def _text(row: Row, name: str) -> str:
    value = getattr(row, name)
    return "" if value != value else _COLUMNS[name][1](value)  # NaN: nothing to say


def _plain(cell: str) -> str:
    """A cell of a table in Markdown: one line, and no bar that ends it."""
    return " ".join(cell.split()).replace("|", r"\|")
