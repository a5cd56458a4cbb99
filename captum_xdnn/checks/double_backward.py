"""What attributions need to be trained through: gradients that can be differentiated again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from captum_xdnn.recording.autograd_graph import nodes_behind

COMPILED = "CompiledFunctionBackward"
ATTENTION = (
    "; inside `with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):` attention "
    "is made of operations that have one"
)
MOST_GRADIENTS = 32
"""More gradients than any operation of torch returns."""


def check_differentiable(attributions: Iterable[Tensor]) -> None:
    """Raise now what would be raised when a loss on the attributions is differentiated.

    Raises:
        NotImplementedError: If an operation on their way has no second derivative; the message
            names it.
    """
    for node in nodes_behind(attributions):
        flaw = _flaw(node)
        if flaw:
            message = f"the attributions cannot be trained through: {flaw}"
            raise NotImplementedError(message)


def _flaw(node: Any) -> str:
    """Why a node of autograd's graph cannot be run; empty if it can."""
    name = node.name()
    if name.startswith(COMPILED) and name != COMPILED:
        return "a function compiled by torch.compile has no second derivative"
    if not name.startswith("torch::autograd::") or not name.endswith(("NotImplemented", "Error")):
        return ""
    # Only the error that the node raises says what it stands for.
    said = next(filter(None, (_said(node, count) for count in range(1, MOST_GRADIENTS))), "")
    if not said:
        return f"{name} in autograd's graph"
    return said + (ATTENTION if "scaled_dot_product" in said else "")


def _said(node: Any, count: int) -> str:
    """What a node says that only raises an error; empty if it takes another number of gradients."""
    try:
        node(*[None] * count)
    except TypeError:
        return ""
    except RuntimeError as error:
        return str(error)
    return ""
