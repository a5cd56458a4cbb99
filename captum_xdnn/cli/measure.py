"""One row of the demo's table: what an attribution costs and how far it is from the truth."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from captum_xdnn.cli.flops import count_flops

__all__ = ["Measurement", "Method", "Problem", "format_table", "measure"]

_SHORTEST_ROUND = 0.05  # seconds


@dataclass(frozen=True)
class Problem:
    """What is attributed: logit ``target`` of ``model`` at ``images`` against the black image.

    Args:
        model: Network that maps ``(N, 1, 28, 28)`` to logits.
        images: Inputs of shape ``(N, 1, 28, 28)``.
        target: Class of each image, shape ``(N,)``.
    """

    model: nn.Module
    images: Tensor
    target: Tensor

    def output_difference(self) -> Tensor:
        """``F(x) - F(0)`` of each image, float64 of shape ``(N,)``."""
        with torch.no_grad():
            at_images: Tensor = self.model(self.images)
            at_black: Tensor = self.model(torch.zeros_like(self.images))
        difference = at_images.double() - at_black.double()
        return difference.gather(1, self.target[:, None])[:, 0]

    def pass_flops(self) -> int:
        """Floating-point operations of one forward pass and one backward pass to the images."""
        inputs = self.images.clone().requires_grad_()

        def one_pass() -> None:
            torch.autograd.grad(self.model(inputs).gather(1, self.target[:, None]).sum(), inputs)

        return count_flops(one_pass)


@dataclass(frozen=True)
class Method:
    """A way to attribute.

    Args:
        name: Name for the table.
        attribute: Computes attributions of the shape of the images.
        route: Says after a call how the numbers were computed.
    """

    name: str
    attribute: Callable[[], Tensor]
    route: Callable[[], str]


@dataclass(frozen=True)
class Measurement:
    """One method on one problem.

    Args:
        method: Name for the table.
        route: How the numbers were computed.
        passes: Work, in forward and backward passes of the whole network over all images.
        seconds: Median time of a call.
        gap: ``max_n |sum_i attr_ni - (F(x_n) - F(0))|``, which is 0 for exact Integrated Gradients.
        attributions: Shape of the images.
    """

    method: str
    route: str
    passes: float
    seconds: float
    gap: float
    attributions: Tensor


def measure(problem: Problem, methods: Sequence[Method], rounds: int) -> list[Measurement]:
    """Call each method and measure it.

    Args:
        problem: What the methods attribute.
        methods: Each is called once, untimed, before the rounds.
        rounds: How often each method is timed in turn.

    Returns:
        One measurement for each method.
    """
    attributions = [method.attribute() for method in methods]
    # Work is counted rather than declared: a fast route that was not taken shows here.
    passes = [count_flops(method.attribute) / problem.pass_flops() for method in methods]
    seconds: list[list[float]] = [[] for _ in methods]
    # In turn, so that what else the machine does in the meantime slows all methods alike.
    for _ in range(rounds):
        for method, times in zip(methods, seconds, strict=True):
            times += _time(method.attribute)
    expected = problem.output_difference()
    return [
        Measurement(
            method=method.name,
            route=method.route(),
            passes=work,
            seconds=statistics.median(times),
            gap=(attribution.double().flatten(1).sum(1) - expected).abs().max().item(),
            attributions=attribution.detach(),
        )
        for method, attribution, work, times in zip(
            methods, attributions, passes, seconds, strict=True
        )
    ]


def _time(call: Callable[[], object]) -> list[float]:
    # A call of milliseconds is timed many times: one alone measures the scheduler.
    times: list[float] = []
    start = end = time.perf_counter()
    while end - start < _SHORTEST_ROUND:
        before = end
        call()
        end = time.perf_counter()
        times.append(end - before)
    return times


def format_table(rows: list[Measurement], reference: Measurement) -> str:
    """Lay out measurements as a table.

    The speed-up is relative to the first row. The difference is ``mean|a - b| / mean|b|`` where
    ``b`` are the attributions of ``reference``.

    Args:
        rows: Measurements of one problem.
        reference: Measurement with the most steps.

    Returns:
        Lines of equal width.
    """
    head = (
        "method",
        "route",
        "passes",
        "seconds",
        "speed-up",
        "completeness gap",
        f"difference to {reference.method}",
    )
    cells = [head] + [
        (
            row.method,
            row.route,
            f"{row.passes:.4g}",
            f"{row.seconds:.4f}",
            f"{rows[0].seconds / row.seconds:.2f}x",
            f"{row.gap:.1e}",
            "-" if row is reference else f"{_difference(row, reference):.1e}",
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    lines = [
        "  ".join(_align(text, widths[column], column) for column, text in enumerate(line))
        for line in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _align(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column < 2 else text.rjust(width)


def _difference(row: Measurement, reference: Measurement) -> float:
    expected = reference.attributions.double()
    return ((row.attributions.double() - expected).abs().mean() / expected.abs().mean()).item()
