"""Which batch norm follows which layer and nothing else does, read off a watched run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from captum_xdnn.proof.split import ancestors
from captum_xdnn.proof.watching import watch
from captum_xdnn.recording.node import Node

CONVOLUTIONS = ("aten.convolution", "aten.cudnn_convolution")
LINEAR = (*CONVOLUTIONS, "aten.addmm", "aten.mm")
"""Layers whose outputs have their channels in dimension 1."""

NORMS = ("aten.native_batch_norm", "aten.cudnn_batch_norm", "aten._native_batch_norm_legit")


def layers_before_norms(
    model: nn.Module, inputs: Sequence[Tensor], arguments: Sequence[Any]
) -> dict[nn.Module, nn.Module]:
    """For each batch norm the layer whose only use is by it, where that is certain.

    Both run once; the layer applies its own weight and bias, which nothing computes, and nothing
    else reads the weight; the channels that the batch norm scales are those of the layer's output.
    """
    leaves = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
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
    layers: dict[Node, nn.Module] = {}
    norms: dict[Node, nn.Module] = {}
    for node in graph.nodes:
        place = tape.places[node.step] if node.step >= 0 else None
        if place is not None and place.module:
            if _is(node, LINEAR):
                layers[node] = place.module
            elif _is(node, NORMS):
                norms[node] = place.module
    runs = Counter([*layers.values(), *norms.values()])
    found: dict[nn.Module, nn.Module] = {}
    for node, norm in norms.items():
        before = node.args[0]
        layer = layers.get(before)
        if layer is None:
            continue
        users = [n for n in before.users if n in needed or n.users]
        if runs[norm] == runs[layer] == len(users) == 1 and _plain(before, layer, tensors):
            found[norm] = layer
    return found


def _plain(node: Node, layer: nn.Module, tensors: dict[Node, Tensor]) -> bool:
    """Whether a layer applies its own weight, used once, and its own bias, and nothing else."""
    own = [layer._parameters.get(name) for name in ("weight", "bias")]
    if _is(node, CONVOLUTIONS):
        weight, bias = node.args[1], node.args[2] if len(node.args) > 2 else None
    else:
        transposed, bias = node.args[-1], node.args[0] if _is(node, ("aten.addmm",)) else None
        if str(transposed.target) != "aten.t.default" or len(transposed.users) != 1:
            return False
        weight = transposed.args[0]
    applied = [tensors.get(weight), None if bias is None else tensors.get(bias)]
    if any(a is not o for a, o in zip(applied, own, strict=True)) or len(weight.users) != 1:
        return False
    # Without a batch a convolution has its channels in dimension 0.
    return not _is(node, CONVOLUTIONS) or bool(node.value.dim() == weight.value.dim())


def _is(node: object, operations: tuple[str, ...]) -> bool:
    return (
        isinstance(node, Node)
        and node.op == "call_function"
        and str(node.target).startswith(operations)
    )
