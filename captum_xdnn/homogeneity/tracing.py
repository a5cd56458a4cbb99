"""Tracing: one functional ATen graph of a forward function, with a free batch size."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sympy
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.export import Dim
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Graph, Node
from torch.utils import _pytree as pytree

from captum_xdnn.errors import TraceError, first_line
from captum_xdnn.homogeneity import backward, registry
from captum_xdnn.homogeneity.derived import root_of
from captum_xdnn.homogeneity.dice import no_dice
from captum_xdnn.homogeneity.quiet import quiet
from captum_xdnn.homogeneity.replica import MODEL, Root, replicate
from captum_xdnn.homogeneity.source_lines import every_source_line

TRACING = threading.RLock()
"""Tracing touches global state of torch: one at a time."""

SCRIPTED = "a scripted module does not show its operations; use the module it was scripted from"


@dataclass(frozen=True)
class Traced:
    """A traced function.

    Attributes:
        graph: Functional graph over ATen operations with a rule, or core ATen.
        inputs: Placeholders of the inputs that are attributed.
        arguments: Placeholders of the tensors among the additional arguments.
        constants: For each other placeholder, its name in the model and its tensor.
        output: The node whose value the function returns.
        writes: Names of buffers and inputs that the function changes, with the writing node.
        prefix: Module path of the traced function, cut off from names that people see.
        batch: Symbol of the batch size, or None where the graph holds for one size only.
        same: Further symbols that are the batch size in every call: each tensor has its own, and
            an operation need not compare them (a gather takes fewer indices than rows).
        size: The batch size of the example.
        guards: Conditions on the batch size under which the graph was traced.
        coarsest: The largest unit of rounding among the floating dtypes in the graph.
        detours: What changes the function's gradients and is not in the graph.
        kept: What others worked out of the graph and keep with it, each under keys of its own.
        held: For batch sizes that were asked for, whether the guards hold there.
    """

    graph: Graph
    inputs: tuple[Node, ...]
    arguments: tuple[Node, ...]
    constants: dict[Node, tuple[str, Tensor]]
    output: Node
    writes: tuple[tuple[str, Node], ...]
    prefix: str
    batch: sympy.Symbol | None
    size: int
    guards: tuple[Any, ...]
    coarsest: float
    detours: tuple[str, ...] = ()
    same: tuple[sympy.Symbol, ...] = ()
    kept: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    held: dict[int, bool] = field(default_factory=dict, compare=False, repr=False)

    def holds_for(self, size: int) -> bool:
        """Whether the graph is the function's at this batch size.

        A size of 1 is special to the tracer (it broadcasts), so it has a graph of its own.
        """
        if size == self.size:
            return True
        if self.batch is None or 1 in (size, self.size):
            return False
        if size not in self.held:
            values = {self.batch: sympy.Integer(size)}
            self.held[size] = all(g.xreplace(values) == sympy.true for g in self.guards)
        return self.held[size]

    def mixes_examples(self) -> bool:
        """Whether dimension 0 is no batch: another size is refused, and the output has its own."""
        if self.batch is not None or self.size == 1:
            return False
        return bool(self.output.meta["val"].shape[:1] != (self.size,))

    def sizes(self, size: int) -> dict[Any, Any]:
        """What the symbols of shapes stand for at this batch size."""
        symbols = () if self.batch is None else (self.batch, *self.same)
        return dict.fromkeys(symbols, sympy.Integer(size))


def trace(
    function: Callable[..., Any], inputs: Sequence[Tensor], arguments: Sequence[Any] = ()
) -> Traced:
    """Trace ``function(*inputs, *arguments)``.

    Args:
        function: Any callable; its modules are traced as copies that share their tensors.
        inputs: Example inputs; dimension 0 is the batch.
        arguments: Additional arguments; their tensors become placeholders of their own.

    Raises:
        TraceError: If it cannot be expressed as one graph, with the tracer's reason.
    """
    size = inputs[0].shape[0]
    examples = [_example(tensor) for tensor in inputs]
    with TRACING, quiet() as raised, torch.enable_grad(), no_dice(), every_source_line():
        root = replicate(function)
        shapes = tuple(_free_batch(value, size) for value in (*examples, *arguments))
        try:
            with backward.noted() as detours:
                program = torch.export.export(
                    root, (*examples, *arguments), strict=False, dynamic_shapes=(shapes,)
                )
            detours += backward.regions_of(program)
            operations = len(torch._C._dispatch_get_all_op_names())
            program = program.run_decompositions(_decompositions(registry.edition(), operations))
        except Exception as error:
            scripted = any(isinstance(m, torch.jit.ScriptModule) for m in root.modules())
            raise TraceError(SCRIPTED if scripted else first_line(error)) from error
    _refuse_memory(root, raised)
    detours += backward.hooks_of(root)
    return _read(program, root, len(examples), size, tuple(dict.fromkeys(detours)))


def _example(tensor: Tensor) -> Tensor:
    """The input as a leaf; a copy of what was made in inference mode, which cannot be one."""
    leaf = tensor.clone() if tensor.is_inference() else tensor.detach()
    return leaf.requires_grad_(leaf.is_floating_point())


def _free_batch(value: Any, size: int) -> Any:
    """Let dimension 0 of every tensor that has the batch size be free."""

    def free(leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and leaf.dim() and leaf.shape[0] == size > 1:
            return {0: Dim.AUTO}
        return None

    return pytree.tree_map(free, value)


@functools.lru_cache(maxsize=1)
def _decompositions(edition: int, operations: int) -> dict[Any, Callable[..., Any]]:
    """Core ATen's decompositions, except of operations that the registry knows as they are.

    Args:
        edition: Edition of the registry.
        operations: The number of operations that torch knows; libraries add theirs.
    """
    del edition, operations
    table: Any = torch.export.default_decompositions()
    return {op: how for op, how in table.items() if not registry.is_known(str(op))}


def _refuse_memory(root: Root, raised: list[warnings.WarningMessage]) -> None:
    kept = [n for m in root.modules() for n, v in vars(m).items() if isinstance(v, FakeTensor)]
    if kept:
        message = f"the function stores state between calls: {', '.join(sorted(kept))}"
        raise TraceError(message)
    for warning in raised:
        if "was assigned during export" in str(warning.message):
            text = str(warning.message).split(" was assigned")[0]
            message = f"the function stores state between calls: {text}"
            raise TraceError(message)


def _read(program: Any, root: Root, n_inputs: int, size: int, detours: tuple[str, ...]) -> Traced:
    graph: Graph = program.graph_module.graph
    placeholders = {n.name: n for n in graph.nodes if n.op == "placeholder"}
    users: list[Node] = []
    constants: dict[Node, tuple[str, Tensor]] = {}
    names = _names_by_storage(root)
    for spec in program.graph_signature.input_specs:
        node = placeholders[spec.arg.name]
        if spec.kind == InputKind.USER_INPUT:
            users.append(node)
        elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            held = program.state_dict.get(spec.target)
            held = program.constants[spec.target] if held is None else held
            constants[node] = (spec.target, held)
        elif spec.kind == InputKind.CONSTANT_TENSOR:
            held = program.constants[spec.target]
            constants[node] = (names.get(_storage(held), spec.target), held)
        else:
            message = f"an operation in it checks values or acts on the world ({spec.kind.name})"
            raise TraceError(message)
    output_node = next(n for n in graph.nodes if n.op == "output")
    writes, results = [], []
    specs = program.graph_signature.output_specs
    for spec, value in zip(specs, output_node.args[0], strict=True):
        if spec.kind == OutputKind.USER_OUTPUT:
            results.append(value)
        else:
            writes.append((str(spec.target), value))
    if len(results) != 1 or not isinstance(results[0], Node):
        message = f"the function returns {len(results)} values, where one tensor is needed"
        raise TraceError(message)
    inputs = tuple(users[:n_inputs])
    if len(inputs) != n_inputs:
        message = "the tracer lost an input"
        raise TraceError(message)
    batch, same, guards = _batch_of(users, size)
    return Traced(
        graph=graph,
        inputs=inputs,
        arguments=tuple(n for n in users[n_inputs:] if isinstance(n.meta.get("val"), Tensor)),
        constants=constants,
        output=results[0],
        writes=tuple(writes),
        prefix=MODEL if isinstance(root_of(root.function), nn.Module) else "",
        batch=batch,
        size=size,
        guards=guards,
        coarsest=max(map(_unit, graph.nodes), default=0.0),
        detours=detours,
        same=same,
    )


def _unit(node: Node) -> float:
    value = node.meta.get("val")
    if isinstance(value, Tensor) and value.is_floating_point() and node.op != "placeholder":
        return float(torch.finfo(value.dtype).eps)
    return 0.0


def _batch_of(
    users: list[Node], size: int
) -> tuple[sympy.Symbol | None, tuple[sympy.Symbol, ...], tuple[Any, ...]]:
    """The symbols that stand for the batch, and the guards on it; None if the size is fixed."""
    symbols: dict[Any, None] = {}
    environment = None
    for node in users:
        value = node.meta.get("val")
        if not isinstance(value, Tensor):
            continue
        for dimension in value.shape:
            if isinstance(dimension, torch.SymInt):
                symbols[dimension.node.expr] = None
                environment = dimension.node.shape_env
    first = users[0].meta.get("val")
    free = isinstance(first, Tensor) and isinstance(first.shape[0], torch.SymInt)
    if size == 1 or environment is None or not free or not all(s.is_Symbol for s in symbols):
        return None, (), ()
    # Only sizes of the batch were left free, so all symbols are that size in every call.
    batch, *same = symbols
    equal = {**environment.replacements, **dict.fromkeys(same, batch)}
    guards = [guard.expr.xreplace(equal).xreplace(equal) for guard in environment.guards]
    for symbol in symbols:
        bounds = environment.var_to_range.get(symbol)
        if bounds is not None:
            guards += [sympy.Ge(batch, bounds.lower), sympy.Le(batch, bounds.upper)]
    deferred = (expr.xreplace(equal) for expr in _runtime_asserts(environment))
    guards += [expr for expr in deferred if expr.free_symbols <= {batch}]
    return batch, tuple(same), tuple(guards)


def _runtime_asserts(environment: Any) -> list[Any]:
    deferred = getattr(environment, "deferred_runtime_asserts", {}) or {}
    return [item.expr for items in deferred.values() for item in items]


def _storage(tensor: Tensor) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    try:
        return (tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride()))
    except RuntimeError:
        return (id(tensor), (), ())


def _names_by_storage(root: Root) -> dict[Any, str]:
    tensors = [*root.named_parameters(), *root.named_buffers()]
    return {_storage(tensor): name for name, tensor in tensors}
