"""Differentiating a gradient again, without the half of the work that comes out as zeros.

Autograd keeps the activations of the first pass with their own graph: in general, what the gradient
is depends on them. In a piecewise linear network it does not, and autograd sends zeros into that
graph, through every layer and back to the inputs. Here that way is closed.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from captum_xdnn.recording.tensors import nodes_behind

Gradients = tuple[Tensor | None, ...]


def close_first_pass(
    outputs: Tensor, gradients: Sequence[Tensor], leaves: Sequence[Tensor]
) -> None:
    """Let nothing flow from gradients into the pass that they were computed from.

    What flows there from elsewhere, such as a loss on activations that a hook keeps, is untouched;
    so are weights, which the gradients depend on by themselves.
    """
    first, others = _first_pass(outputs.grad_fn, {get_gradient_edge(leaf).node for leaf in leaves})
    # Neither can lead to what is computed after it.
    for node in nodes_behind(gradients, before={*first, *others}):
        following = [to for to, _ in node.next_functions]
        if not first.isdisjoint(following):
            node.register_hook(partial(_without, [to in first for to in following]))


def _without(closed: list[bool], returned: Gradients, _: Gradients) -> Gradients:
    """A hook: the gradients that a node returns, without those that are closed."""
    return tuple(None if c else g for g, c in zip(returned, closed, strict=True))


def _first_pass(root: Any, leaves: set[Any]) -> tuple[set[Any], set[Any]]:
    """The nodes below a root: those that lead to the leaves, and the leaves' own with the others."""
    leading: set[Any] = set()
    others: set[Any] = {None, *leaves}
    done: set[Any] = set(others)
    stack: list[tuple[Any, list[Any]]] = [(None, [root])]
    while True:
        node, following = stack[-1]
        for to in following:
            if to not in done:
                stack.append((to, [t for t, _ in to.next_functions]))
                break
        else:
            stack.pop()
            if not stack:
                return leading, others
            done.add(node)
            leads = not (leaves.isdisjoint(following) and leading.isdisjoint(following))
            (leading if leads else others).add(node)


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
            raise NotImplementedError(f"the attributions cannot be trained through: {flaw}")


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
