"""Which batch norm follows which layer and nothing else does, read off the traced graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.fx import Node

from captum_xdnn.errors import TraceError
from captum_xdnn.homogeneity.blocker import place

LINEAR = (
    "aten.conv1d",
    "aten.conv2d",
    "aten.conv3d",
    "aten.conv_transpose1d",
    "aten.conv_transpose2d",
    "aten.conv_transpose3d",
    "aten.convolution",
    "aten.linear",
)
"""Operations ``(input, weight, ...)`` whose outputs have their channels in dimension 1."""

NORMS = ("aten._native_batch_norm_legit_no_training", "aten.batch_norm")


def layers_before_norms(
    model: nn.Module, inputs: Sequence[Tensor], arguments: Sequence[Any]
) -> dict[nn.Module, nn.Module]:
    """For each batch norm, the layer whose only use is by it.

    Both run once; the layer applies its own weight and bias, which nothing computes, and nothing
    else reads the weight; the channels that the batch norm scales are those of the layer's output.

    Args:
        model: The network in evaluation mode.
        inputs: Example inputs.
        arguments: Further arguments.

    Returns:
        The pairs that are certain; empty for a network that cannot be traced.
    """
    from captum_xdnn.homogeneity.tracing import trace  # it takes half a second to import

    try:
        traced = trace(model, inputs, arguments)
    except TraceError:
        return {}
    modules = dict(model.named_modules(remove_duplicate=False))
    owners = {
        node: modules.get(place(node, traced.prefix, "", "").module)
        for node in traced.graph.nodes
        if _is(node, LINEAR) or _is(node, NORMS)
    }
    runs = Counter(owners.values())
    found: dict[nn.Module, nn.Module] = {}
    for node, norm in owners.items():
        before = node.args[0]
        layer = owners.get(before)
        if not (_is(node, NORMS) and _is(before, LINEAR)) or norm is None or layer is None:
            continue
        once = runs[norm] == runs[layer] == len(before.users) == 1
        if once and _plain(before, layer, traced.constants) and _channels_in_dimension_1(before):
            found[norm] = layer
    return found


def _plain(node: Node, layer: nn.Module, constants: dict[Node, tuple[str, Tensor]]) -> bool:
    """Whether a layer applies its own weight, used once, and its own bias, and nothing else."""
    own = [layer._parameters.get(name) for name in ("weight", "bias")]
    given: list[Any] = [*node.args[1:3], None][:2]
    applied = [constants[n][1] if n in constants else n for n in given]
    same = all(a is o for a, o in zip(applied, own, strict=True))
    return same and len(given[0].users) == 1


def _channels_in_dimension_1(node: Node) -> bool:
    """Whether the rows of the weight are the output's dimension 1: a batch without further axes."""
    weight: Any = node.args[1]
    return bool(node.meta["val"].dim() == weight.meta["val"].dim())


def _is(node: object, operations: tuple[str, ...]) -> bool:
    return (
        isinstance(node, Node)
        and node.op == "call_function"
        and str(node.target).startswith(operations)
    )
