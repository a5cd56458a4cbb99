"""Which batch norm follows which layer and nothing else does, read off a watched run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from captum_xdnn.proof.split import ancestors
from captum_xdnn.proof.watching import watch
from captum_xdnn.recording.node import Node

LINEAR = ("aten.convolution", "aten.addmm", "aten.mm", "aten.cudnn_convolution")
"""Layers whose outputs have their channels in dimension 1."""

NORMS = ("aten.native_batch_norm", "aten.cudnn_batch_norm", "aten._native_batch_norm_legit")


def layers_before_norms(
    model: nn.Module, inputs: Sequence[Tensor], arguments: Sequence[Any]
) -> dict[nn.Module, nn.Module]:
    """For each batch norm, the layer whose only use is by it.

    Both run once; the layer applies its own weight and bias, which nothing computes, and nothing
    else reads the weight; the channels that the batch norm scales are those of the layer's output.

    Returns:
        The pairs that are certain; empty for a network that does not run.
    """
    leaves = [x.detach().clone() for x in inputs]
    leaves = [x.requires_grad_() if x.is_floating_point() else x for x in leaves]
    watched = watch(model, leaves, [0] * len(leaves), arguments)
    watched.put_back()
    tape, verdict = watched.tape, watched.verdict
    if tape is None or verdict is None or verdict.graph.output is None:
        return {}
    if verdict.propagation.everywhere:  # Python decides by values: another run may go another way
        return {}
    graph = verdict.graph
    needed = ancestors(verdict.graph.output)
    tensors = {node: tape.sources[number] for number, node in graph.sources.items()}
    owners: dict[Node, nn.Module] = {}
    for node in graph.nodes:
        place = tape.places[node.step] if node.step >= 0 else None
        if (_is(node, LINEAR) or _is(node, NORMS)) and place is not None and place.module:
            owners[node] = place.module
    runs = Counter(owners.values())
    found: dict[nn.Module, nn.Module] = {}
    for node, norm in owners.items():
        if not _is(node, NORMS):
            continue
        before = node.args[0]
        layer = owners.get(before)
        if layer is None or not _is(before, LINEAR):
            continue
        users = [n for n in before.users if n in needed or n.users]
        once = runs[norm] == runs[layer] == len(users) == 1
        if once and _plain(before, layer, tensors) and _channels_in_dimension_1(before):
            found[norm] = layer
    return found


def _plain(node: Node, layer: nn.Module, tensors: dict[Node, Tensor]) -> bool:
    """Whether a layer applies its own weight, used once, and its own bias, and nothing else."""
    own = [layer._parameters.get(name) for name in ("weight", "bias")]
    if _is(node, ("aten.convolution", "aten.cudnn_convolution")):
        weight, bias = node.args[1], node.args[2] if len(node.args) > 2 else None
    else:
        transposed, bias = node.args[-1], node.args[0] if _is(node, ("aten.addmm",)) else None
        if str(transposed.target) != "aten.t.default" or len(transposed.users) != 1:
            return False
        weight = transposed.args[0]
    applied = [tensors.get(weight), None if bias is None else tensors.get(bias)]
    same = all(a is o for a, o in zip(applied, own, strict=True))
    return same and len(weight.users) == 1


def _channels_in_dimension_1(node: Node) -> bool:
    """Whether the rows of the weight are the output's dimension 1: a batch without further axes."""
    if not _is(node, ("aten.convolution", "aten.cudnn_convolution")):
        return True
    return bool(node.value.dim() == node.args[1].value.dim())


def _is(node: object, operations: tuple[str, ...]) -> bool:
    return (
        isinstance(node, Node)
        and node.op == "call_function"
        and str(node.target).startswith(operations)
    )
