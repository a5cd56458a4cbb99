"""Code of the user's that acts on a gradient, seen on the graph that autograd recorded of the run.

What torch derives itself obeys the law of the function that it derives. What a custom backward pass
or a hook makes of a gradient need not: so the law is checked on the gradient, at one more place.
"""

from fractions import Fraction

import torch
from torch import Tensor

from captum_xdnn.checks.completeness import entries
from captum_xdnn.recording.tensors import custom_nodes_of

COARSE, FINE = 2.0**-7, 2.0**-24
"""How far the gradients of an example may differ, in parts of their sum, in float32 and float64.

Entries on a kink of the function (a unit near zero, two equal maxima) fall to one side or the
other by rounding, in Captum's own batches of different size, too.
"""
HOOKED = "a backward hook on a module"
SCRIPTED = "the derivative that TorchScript made"
"""Its constants are rounded to float32."""
NOT_ITS_LAW = (
    "code of its own acts on the gradient (a custom backward pass, a hook), and the gradient does not "
    "obey the law of the function"
)


def custom_functions_of(output: Tensor) -> list[str]:
    """The custom autograd functions in the graph that autograd recorded of a run."""
    names: dict[str, None] = {}
    for name in custom_nodes_of(output):
        own = HOOKED if name == "BackwardHookFunction" else f"the autograd.Function {name}"
        names[own if name else SCRIPTED] = None
    return list(names)


def agree(
    ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...], precision: float, factor: float = 1.0
) -> bool:
    """Whether the gradients of each example are the same up to rounding."""
    tolerance = FINE if precision < 2.0**-40 else max(COARSE, 8 * precision)
    for mine, other in zip(ours, theirs, strict=True):
        one, two = entries(mine.detach()), entries(other.detach()) * factor
        gaps = (one - two).abs().sum(1)
        if not bool((gaps <= tolerance * torch.maximum(two.abs(), one.abs()).sum(1)).all()):
            return False
    return True


PLACES = (0.5, 0.125, 0.03125)
"""Where on the ray the gradient is looked at beside its end."""


def factor_at(place: float, degree: Fraction) -> float:
    """What a gradient at a place of the ray is multiplied by to give that at its end."""
    return float(place ** float(1 - degree))
