"""What a person can do about an obstacle, where that hangs on its place and on the user's own model."""

import operator
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from captum_xdnn.proof.nodes import is_operation
from captum_xdnn.proof.propagation import Obstacle
from captum_xdnn.proof.rules.refused import INSIDE
from captum_xdnn.recording.node import Node
from captum_xdnn.recording.operations import operation_of
from captum_xdnn.recording.places import modules_of
from captum_xdnn.recording.run import Graph

FLOATS = "give floating-point numbers of shape (B, ...), such as inputs.float()"


def remedy_of(obstacle: Obstacle, graph: Graph) -> str:
    """What to do about an obstacle: only what is last can be left out of what is explained."""
    inside = INSIDE.get(obstacle.remedy)
    return obstacle.remedy if inside is None or _is_last(obstacle.node, graph) else inside


def _is_last(node: Node, graph: Graph) -> bool:
    """Whether an operation's result is the output, or the output a part of it."""
    while node is not graph.output:
        users = [n for n in node.users if n.users or n is graph.output]
        if len(users) != 1 or not _shows(users[0].target):
            return False
        (node,) = users
    return True


def _shows(target: Any) -> bool:
    """Whether an operation shows its argument, or takes one of several results."""
    return target is operator.getitem or (is_operation(target) and operation_of(target).shows)


def of_returned(output: Any) -> tuple[str, str]:
    """Why a function that returns no tensor has no certificate, and which tensor of it to explain."""
    kind = type(output).__name__
    parts = [
        place
        for place, value in _parts_of(output)
        if isinstance(value, Tensor) and value.is_floating_point() and value.dim() > 0
    ]
    reason = f"the function returns something other than one tensor ({kind}), which Captum's code refuses, too"
    if not parts:
        return reason, "return a tensor of shape (B, ...)"
    place = next((place for place in parts if "logits" in place), parts[0])
    return reason, f"explain one tensor of it: lambda *inputs: model(*inputs){place}"


def _parts_of(output: Any) -> Iterator[tuple[str, Any]]:
    """The parts of what a function returned, with how Python takes them out of it."""
    if isinstance(output, Mapping):
        yield from ((f"[{key!r}]", value) for key, value in output.items())
    elif isinstance(output, tuple | list):
        names = getattr(output, "_fields", None)
        places = [f".{n}" for n in names] if names else [f"[{i}]" for i in range(len(output))]
        yield from zip(places, output, strict=True)
    else:
        yield from ((f".{name}", value) for name, value in getattr(output, "__dict__", {}).items())


def of_whole_numbers(function: Any) -> str:
    """What to do about inputs that are no floating-point numbers: indices have an embedding."""
    kinds = nn.Embedding | nn.EmbeddingBag
    found = [path for path, module in modules_of(function) if isinstance(module, kinds)]
    if not found:
        return FLOATS
    model = "model" if isinstance(function, nn.Module) else "function"
    first, *others = (_in_code(path, model) for path in found)
    more = f" (other embeddings: {', '.join(others[:3])})" if others else ""
    return f"explain the embedding's values: XLayerIntegratedGradients({model}, {first}){more}"


def _in_code(path: str, model: str) -> str:
    """A module's path as Python spells it: ``layers.0.conv`` of a model is ``model.layers[0].conv``."""
    names = path.split(".")
    whole = [model, *names] if model == "model" else names
    return whole[0] + "".join(f"[{n}]" if n.isdecimal() else f".{n}" for n in whole[1:])
