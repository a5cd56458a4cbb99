"""The weights of an ONNX file are held against what they were: the served gap shows if they changed.

A homogeneous network with another weight is another homogeneous network, whose attributions add up
just as well. So the sum of each initializer is written down, and where one is another the
completeness gap is infinite. The sums are of constants: a runtime computes them once, when it loads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

SLACK = 1e-9
"""A sum in double precision, relative to that of the absolute values, up to which it is the same."""
_PREFIX = "seal"


def seal(graph: Any) -> None:
    """Add to the last result of a graph, the completeness gap, whether its initializers are as now."""
    import onnx_ir as ir

    nodes: list[Any] = []

    def node(op: str, *inputs: Any, **attributes: Any) -> Any:
        made = ir.node(op, inputs=list(inputs), attributes=attributes or None)
        made.name = made.outputs[0].name = f"{_PREFIX}_{len(nodes)}"
        nodes.append(made)
        return made.outputs[0]

    def constant(name: str, value: Any) -> Any:
        held = ir.val(f"{_PREFIX}_{name}", const_value=ir.tensor(value, name=f"{_PREFIX}_{name}"))
        graph.initializers[held.name] = held
        return held

    sums: list[Any] = []
    expected: list[float] = []
    slacks: list[float] = []
    for held in [*graph.initializers.values()]:
        value = held.const_value.numpy()
        if value.dtype.kind not in "fiu" or not value.size:
            continue
        wide = value.astype(np.float64)
        expected.append(wide.sum())
        slacks.append(SLACK * (np.abs(wide).sum() + 1e-30))
        double = node("Cast", held, to=ir.DataType.DOUBLE.value)
        flat = node("Reshape", double, constant(f"shape_{len(sums)}", np.array([-1])))
        sums.append(node("ReduceSum", flat, keepdims=1))
    gap = graph.outputs[-1]
    found = node("Concat", *sums, axis=0)
    missed = node("Abs", node("Sub", found, constant("sums", np.array(expected))))
    broken = node("Greater", missed, constant("slacks", np.array(slacks)))
    numbers = node("Cast", broken, to=gap.dtype.value)
    # 0 where all are as they were; else what no threshold lets pass.
    largest = node("ReduceMax", numbers, keepdims=1)
    zero, infinite = (
        constant(n, np.array([v], gap.dtype.numpy())) for n, v in (("zero", 0), ("inf", np.inf))
    )
    flaw = node("Where", node("Cast", largest, to=ir.DataType.BOOL.value), infinite, zero)
    served = node("Add", gap, flaw)
    served.shape, served.dtype, served.type = gap.shape, gap.dtype, gap.type
    name = gap.name
    gap.name, served.name = f"{name}_unsealed", name
    graph.extend(nodes)
    graph.outputs[-1] = served
