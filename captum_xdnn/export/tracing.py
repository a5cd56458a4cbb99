"""From the attribution as a function of tensors to a graph of torch's: ``torch.export.ExportedProgram``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import (
    DimDynamic,
    ShapeEnv,
    StatelessSymbolicContext,
)

from captum_xdnn._torch import FakeTensorMode
from captum_xdnn.errors import TraceError, first_line
from captum_xdnn.export.decompositions import WHILE_TRACING

ROWS = 7
"""Rows of the example that is traced where the batch size is a symbol: no length of a layer, not 0 or 1."""

Traced = Callable[[Mapping[str, Tensor], Sequence[Tensor]], Sequence[Tensor]]
"""A function of named weights and of the tensors of a call, which gives the results."""


def exported(
    function: Traced,
    weights: Mapping[str, Tensor],
    examples: Sequence[Tensor],
    batched: Sequence[bool],
) -> ExportedProgram:
    """The function as a graph in which the weights are buffers and parameters.

    Where ``batched`` says so of an example, the length of its first dimension is the batch size,
    which stays open.

    Raises:
        TraceError: If torch cannot make a graph of it, or only one for a single batch size.
    """
    try:
        graph = _traced(function, weights, examples, batched)
        symbol = Dim("batch", min=1)
        dynamic = tuple({0: symbol} if open_ else None for open_ in batched)
        return torch.export.export(graph, tuple(examples), dynamic_shapes=(dynamic,), strict=False)
    except (RuntimeError, NotImplementedError, ValueError, TypeError, AssertionError) as error:
        raise TraceError(f"torch makes no graph of the attribution: {first_line(error)}") from error


class Graph(nn.Module):
    """A traced graph as a module that is called with the tensors of a call."""

    def __init__(self, inner: fx.GraphModule) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *tensors: Tensor) -> Any:
        """The results of the graph."""
        return self.inner(*tensors)


def _traced(
    function: Traced,
    weights: Mapping[str, Tensor],
    examples: Sequence[Tensor],
    batched: Sequence[bool],
) -> nn.Module:
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=False)

    def faked(tensor: Tensor, *, open_: bool) -> Tensor:
        dims = [DimDynamic.STATIC] * tensor.dim()
        if open_:
            dims[0] = DimDynamic.DUCK  # the same symbol for all
        context: Any = StatelessSymbolicContext(dynamic_sizes=dims)
        found: Tensor = mode.from_tensor(tensor.detach(), symbolic_context=context)
        return found

    held = list(weights)

    def flat(*tensors: Tensor) -> Sequence[Tensor]:
        of_weights = dict(zip(held, tensors, strict=False))
        return function(of_weights, tensors[len(held) :])

    fakes = [faked(weights[name], open_=False) for name in held]
    fakes += [faked(t, open_=o) for t, o in zip(examples, batched, strict=True)]
    with mode:
        traced = make_fx(flat, decomposition_table=dict(WHILE_TRACING))(*fakes)
    for index, (name, node) in enumerate(zip(held, _placeholders(traced), strict=False)):
        attribute = f"w{index}_" + "".join(c if c.isalnum() else "_" for c in name)
        value = weights[name].detach().clone()  # the user may go on training
        if value.is_floating_point():
            traced.register_parameter(attribute, nn.Parameter(value, requires_grad=False))
        else:
            traced.register_buffer(attribute, value)
        with traced.graph.inserting_before(node):
            node.replace_all_uses_with(traced.graph.get_attr(attribute))
        traced.graph.erase_node(node)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    return Graph(traced)


def _placeholders(traced: fx.GraphModule) -> list[fx.Node]:
    return [node for node in traced.graph.nodes if node.op == "placeholder"]
