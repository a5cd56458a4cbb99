"""A quick tracer for the sweeps: the same level of ATen as the engine's own, in a tenth of the time.

``torch.export`` needs about 0.2 s a function; a sweep traces tens of thousands. This one runs the
function once on real tensors under ``make_fx``, with the engine's decompositions and the engine's
choice of fused operations that are kept whole, and functionalises as ``torch.export`` does. The
graph is for one batch size. That both tracers lead to the same verdicts is itself tested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.functional_tensor import FunctionalTensorMode, dispatch_functionalize
from torch.export.exported_program import (
    _override_composite_implicit_decomp,
    _split_decomp_table_to_cia_and_python_decomp,
)
from torch.fx import Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from captum_xdnn.errors import TraceError
from captum_xdnn.homogeneity import registry, rules  # noqa: F401 - the rules register
from captum_xdnn.homogeneity.tracing import Traced


@cache
def _tables() -> tuple[dict[Any, Any], dict[Any, Any]]:
    """The fused operations that stay whole, and the decompositions of the others."""
    defaults = torch.export.default_decompositions()
    table = {op: how for op, how in defaults.items() if not registry.is_known(str(op))}
    whole, taken_apart = _split_decomp_table_to_cia_and_python_decomp(table)
    known = {op: kept for op, kept in whole.items() if registry.is_known(str(op))}
    return known, dict(taken_apart)


@contextmanager
def recording() -> Iterator[None]:
    """While this is open, ``record`` is quick; enter it once for many functions."""
    with _override_composite_implicit_decomp(_tables()[0]):
        yield


def record(
    function: Callable[..., Any], inputs: Sequence[Tensor], arguments: Sequence[Any] = ()
) -> Traced:
    """Trace a function of one result; takes and raises what ``tracing.trace`` does."""
    traces = record_all(function, inputs, arguments)
    if len(traces) != 1:
        message = f"the function returns {len(traces)} values, where one tensor is needed"
        raise TraceError(message)
    return traces[0]


def record_all(
    function: Callable[..., Any], inputs: Sequence[Tensor], arguments: Sequence[Any] = ()
) -> list[Traced]:
    """Trace a function: one ``Traced`` for each tensor that it returns, all over one graph.

    Args:
        function: The function.
        inputs: The tensors that move.
        arguments: Its other arguments.

    Raises:
        TraceError: If it cannot be traced.
    """
    leaves, spec = pytree.tree_flatten(list(arguments))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]

    def flat(*tensors: Tensor) -> Any:
        given = list(leaves)
        for place, tensor in zip(places, tensors[len(inputs) :], strict=True):
            given[place] = tensor
        result = function(*tensors[: len(inputs)], *pytree.tree_unflatten(given, spec))
        return [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]

    def functional(*tensors: Tensor) -> Any:
        mode = FunctionalTensorMode(export=True, _allow_token_discovery=True)
        with mode:
            return dispatch_functionalize(flat, mode)(*tensors)

    examples = [tensor.detach() for tensor in (*inputs, *(leaves[i] for i in places))]
    try:
        with torch.no_grad(), enable_python_dispatcher():
            module = make_fx(functional, decomposition_table=_tables()[1], tracing_mode="real")(
                *examples
            )
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        raise TraceError(message) from error
    return _read(
        module, len(inputs), len(places), size=inputs[0].shape[0] if inputs[0].dim() else 0
    )


def _read(module: torch.fx.GraphModule, count: int, further: int, *, size: int) -> list[Traced]:
    nodes = list(module.graph.nodes)
    placeholders = [node for node in nodes if node.op == "placeholder"]
    constants: dict[Node, tuple[str, Tensor]] = {}
    for node in nodes:
        if node.op == "get_attr":
            held = getattr(module, str(node.target))
            if not isinstance(held, Tensor):
                message = f"the graph holds a {type(held).__name__}"
                raise TraceError(message)
            constants[node] = (str(node.target), held)
            node.meta.setdefault("val", held)
    results = pytree.tree_leaves(nodes[-1].args[0])
    return [
        Traced(
            graph=module.graph,
            inputs=tuple(placeholders[:count]),
            arguments=tuple(placeholders[count : count + further]),
            constants=constants,
            output=result,
            writes=(),
            prefix="",
            batch=None,
            size=size,
            guards=(),
            coarsest=max(map(_unit, nodes)),
        )
        for result in results
    ]


def _unit(node: Node) -> float:
    value = node.meta.get("val")
    if not isinstance(value, Tensor) or not (value.is_floating_point() or value.is_complex()):
        return 0.0
    return float(torch.finfo(value.dtype).eps)
