"""An ONNX file in parts: some operations by themselves, with what they take as inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

SOME = 16
"""Results of a part: of as many, what a runtime is given and gives is held at a time."""


def given(name: str) -> str:
    """The name of a tensor of the file where it is an input of a part."""
    return f"{name}//given"


@dataclass(frozen=True)
class Part:
    """Some operations: ``takes`` are the names of their inputs, ``gives`` those of their results."""

    model: bytes
    takes: tuple[str, ...]
    gives: tuple[str, ...]

    @property
    def results(self) -> tuple[str, ...]:
        """The names by which later parts take the results."""
        return tuple(map(given, self.gives))


def session_of(model: Any) -> Any:
    """What runs a file, or its bytes, on as many threads as torch's."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def parts_of(proto: Any, names: Sequence[str]) -> list[Part]:
    """A file cut at those of these tensors, in the order of their computation, that it has and NumPy has a kind for."""
    import onnx

    cut = onnx.ModelProto()
    cut.CopyFrom(proto)
    makers = {name: node for node in cut.graph.node for name in node.output if name}
    kinds = {v.name: v.type.tensor_type.elem_type for v in cut.graph.value_info}
    kinds |= {v.name: v.type.tensor_type.elem_type for v in (*cut.graph.input, *cut.graph.output)}
    results = {o.name for o in cut.graph.output}  # torch may know one by several names
    unknown = {onnx.TensorProto.UNDEFINED, onnx.TensorProto.BFLOAT16, None}
    at = [n for n in dict.fromkeys(names) if n in makers and kinds.get(n) not in unknown]
    for node in cut.graph.node:
        _rename(node, {name: given(name) for name in at if name not in results})
    kinds |= {given(name): kinds[name] for name in at}
    order = {id(node): index for index, node in enumerate(cut.graph.node)}
    held = {i.name: i for i in cut.graph.initializer}
    found = []
    for first in range(0, len(at), SOME):
        gives = at[first : first + SOME]
        reached, wanted = {}, list(gives)
        ends: set[str] = set()
        while wanted:
            name = wanted.pop()
            maker = makers.get(name)
            if maker is None:
                ends.add(name)
            elif id(maker) not in reached:
                reached[id(maker)] = maker
                wanted += _taken(maker)
        takes = sorted(n for n in ends if n in kinds and n not in held)
        nodes = sorted(reached.values(), key=lambda node: order[id(node)])
        graph = onnx.helper.make_graph(
            nodes,
            "part",
            [onnx.helper.make_tensor_value_info(n, kinds[n], None) for n in takes],
            [onnx.helper.make_tensor_value_info(n, kinds[n], None) for n in gives],
            [held[n] for n in sorted(ends) if n in held],
        )
        model = onnx.helper.make_model(
            graph,
            opset_imports=cut.opset_import,
            functions=cut.functions,
            ir_version=cut.ir_version,
        )
        found.append(Part(model.SerializeToString(), tuple(takes), tuple(gives)))
    return found


def _graphs(node: Any) -> Iterator[Any]:
    """The graphs inside of an operation: of ``If``, ``Loop`` and ``Scan``."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _rename(node: Any, names: Mapping[str, str]) -> None:
    for index, name in enumerate(node.input):
        node.input[index] = names.get(name, name)
    for graph in _graphs(node):
        for inner in graph.node:
            _rename(inner, names)


def _taken(node: Any) -> set[str]:
    """What an operation takes, the graphs inside of it included."""
    taken = {name for name in node.input if name}
    for graph in _graphs(node):
        own = {i.name for i in (*graph.input, *graph.initializer)}
        own |= {name for inner in graph.node for name in inner.output}
        taken |= set().union(*map(_taken, graph.node)) - own
    return taken
