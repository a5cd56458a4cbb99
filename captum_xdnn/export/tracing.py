"""From the attribution as a function of tensors to a graph of torch's: ``torch.export.ExportedProgram``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from threading import RLock
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

from captum_xdnn._torch import FakeTensorMode, TorchDispatchMode
from captum_xdnn.errors import TraceError, first_line
from captum_xdnn.export.decompositions import WHILE_TRACING

ONE_AT_A_TIME = RLock()
"""Torch traces by what it changes in itself, for all threads."""
NO_GRAPH = "cannot export the attribution: torch traces {} for one batch size alone, or not at all"
REMEDY = "\n    remedy: export it with dynamic_batch=False, for one batch size"
ROWS = 7
"""Rows of the example that is traced where the batch size is a symbol: no length of a layer, not 0 or 1."""

Traced = Callable[[Mapping[str, Tensor], Sequence[Tensor]], Sequence[Tensor]]
"""A function of named weights and of the tensors of a call, which gives the results."""


def exported(
    function: Traced,
    weights: Mapping[str, Tensor],
    examples: Sequence[Tensor],
    batched: Sequence[bool],
    places: Mapping[str, str],
) -> ExportedProgram:
    """The function as a graph in which the weights are buffers and parameters.

    Where ``batched`` says so of an example, the length of its first dimension is the batch size,
    which stays open. ``places`` says where operations stand in the user's network.

    Raises:
        TraceError: If torch cannot make a graph of it, or only one for a single batch size.
    """
    watch = _Watch()
    try:
        graph = _traced(function, weights, examples, batched, watch)
        symbol = Dim("batch", min=1)
        dynamic = tuple({0: symbol} if open_ else None for open_ in batched)
        return torch.export.export(graph, tuple(examples), dynamic_shapes=(dynamic,), strict=False)
    except (RuntimeError, NotImplementedError, ValueError, TypeError, AssertionError) as error:
        if watch.stopped is None:
            reason = f"torch makes no graph of the attribution: {first_line(error)}"
        else:
            reason = NO_GRAPH.format(placed(watch.stopped, places))
        raise TraceError(f"{reason}{REMEDY if any(batched) else ''}") from error


def placed(op: Any, places: Mapping[str, str]) -> str:
    """An operation, and where it, or what it is the backward pass of, stands in the user's network."""
    name = re.sub(r"_backward.*", "", str(op).split(".")[1]).strip("_")
    return f"{op} ({places[name]})" if name in places else str(op)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the first operation that cannot be traced, or for one batch size alone."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stopped: Any = None
        self.shapes: ShapeEnv | None = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        try:
            result = func(*args, **(kwargs or {}))
        except Exception:
            self.stopped = self.stopped or func
            raise
        if self.shapes is not None and self.shapes.replacements:
            self.stopped = self.stopped or func
        return result


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
    watch: _Watch,
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
    watch.shapes = mode.shape_env

    def flat(*tensors: Tensor) -> Sequence[Tensor]:
        of_weights = dict(zip(held, tensors, strict=False))
        with watch:
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
