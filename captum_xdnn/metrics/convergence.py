"""How fast Captum's sums converge, and how far the single pass is from where they converge to."""

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from captum.attr import IntegratedGradients
from matplotlib.figure import Figure
from torch import Tensor

from captum_xdnn.attr import XIntegratedGradients
from captum_xdnn.attr.documentation import WRONG_INPUT, described
from captum_xdnn.figures import OURS, THEIRS, new_figure
from captum_xdnn.metrics.difference import attribution_difference

STEPS = (1, 2, 4, 8, 16, 32, 64, 128)
OUR_STEPS = 50
"""Captum's default, for ``XIntegratedGradients`` where it needs steps."""
SMALLEST = 1e-17
"""What a difference of zero is drawn as, on an axis of powers of ten."""


@dataclass(frozen=True)
class Convergence:
    """Differences to Captum's Integrated Gradients with many steps.

    Attributes:
        steps: Numbers of steps, ``K`` of them.
        reference_steps: Number of steps of the reference.
        per_example: Shape ``(B, K)``: the :func:`attribution_difference` at each number of steps.
        ours: Shape ``(B,)``: that of ``XIntegratedGradients``.
        route: The route it took.
        our_steps: Its number of steps, which a single pass does not need.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
        >>> found = convergence(net, torch.rand(2, 4), target=0, steps=(1, 300))
        >>> float(found.values[1])
        0.0
    """

    steps: tuple[int, ...]
    reference_steps: int
    per_example: Tensor
    ours: Tensor
    route: str
    our_steps: int = OUR_STEPS

    @property
    def values(self) -> Tensor:
        """The mean over the examples, shape ``(K,)``."""
        return self.per_example.mean(0)

    def plot(self) -> Figure:
        """The differences against the number of steps, and ours as a line.

        Returns:
            A matplotlib figure that belongs to no window: ``figure.savefig(path)``.
        """
        figure = new_figure(6, 4)
        axes = figure.subplots()
        theirs = self.values.clamp(min=SMALLEST).tolist()
        ours = float(self.ours.mean().clamp(min=SMALLEST))
        if not all(map(math.isnan, (*theirs, ours))):
            axes.set_yscale("log")  # before there are limits, which may be one and the same number
        axes.plot(self.steps, theirs, "o-", color=THEIRS, label="Captum, n steps")
        # On the other routes it is a sum, too, and goes down with its own number of steps.
        steps = "" if self.route == "single_pass" else f", {self.our_steps} steps"
        label = f"XIntegratedGradients ({self.route}{steps})"
        axes.axhline(ours, color=OURS, linestyle="--", label=label)
        axes.set_xlim(min(self.steps) / 1.2, max(self.steps) * 1.2)  # whatever is no number
        axes.set_xscale("log", base=2)
        axes.set_xticks(self.steps, [str(count) for count in self.steps])
        difference = f"difference to IG({self.reference_steps})"
        axes.set(xlabel="steps", ylabel=difference)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        return figure


@described(
    raises={
        "ValueError": "If there are no numbers of steps.",
        "TypeError": "If one of them is no integer.",
    }
    | WRONG_INPUT,
    steps="Numbers of steps.",
    reference_steps="Number of steps of the reference.",
    method="Quadrature rule of all of them.",
    internal_batch_size="Bound of the batch in one pass, as in Captum.",
)
def convergence(
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    baselines: Any = None,
    target: Any = None,
    additional_forward_args: Any = None,
    *,
    steps: Sequence[int] = STEPS,
    reference_steps: int = 300,
    method: str = "gausslegendre",
    internal_batch_size: int | None = None,
) -> Convergence:
    """Captum's Integrated Gradients at several numbers of steps, against itself with many.

    Returns:
        The differences, and that of ``XIntegratedGradients``.

    Source:
        Hesse, Schaub-Meyer, Roth (NeurIPS 2021), Section 4.1 and Figure 3.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8, bias=False), torch.nn.ReLU())
        >>> found = convergence(net, torch.rand(2, 4), target=0, steps=(1, 10))
        >>> found.per_example.shape, found.route
        (torch.Size([2, 2]), 'single_pass')
    """
    counts = tuple(map(operator.index, steps))
    if not counts:
        raise ValueError("steps must hold at least one number")
    captum, xig = IntegratedGradients(forward_func), XIntegratedGradients(forward_func)
    call = (inputs, baselines, target, additional_forward_args)

    def by(integrated: Any, n_steps: int) -> Any:
        return integrated.attribute(*call, n_steps, method, internal_batch_size)

    reference = by(captum, reference_steps)
    columns = [attribution_difference(by(captum, count), reference) for count in counts]
    ours = attribution_difference(by(xig, OUR_STEPS), reference)
    return Convergence(counts, reference_steps, torch.stack(columns, 1), ours, str(xig.last_route))
