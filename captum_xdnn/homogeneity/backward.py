"""What a traced function does to its own gradients, which a graph of it does not hold.

A graph keeps the values of a function. Code that changes only the way back (a custom
``autograd.Function``, a backward hook, a ``no_grad`` region) leaves no trace in it, and a copy of
the graph would be differentiated as if that code were not there. Such code is noted while the
function is traced.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from captum_xdnn.homogeneity import code

NO_GRAD = "a region without gradients (torch.no_grad)"
_HOOKS = ("_backward_hooks", "_backward_pre_hooks")
_GLOBAL_HOOKS = ("_global_backward_hooks", "_global_backward_pre_hooks")


@contextmanager
def noted() -> Iterator[list[str]]:
    """Note the custom autograd functions and tensor hooks that this thread meets meanwhile.

    Yields:
        A description of each, in the order of the run; it grows while the function runs.
    """
    found: list[str] = []
    thread = threading.get_ident()
    function, tensor = torch.autograd.Function, torch.Tensor
    apply, hook = function.__dict__["apply"], tensor.__dict__["register_hook"]
    node: Any = torch._C.TensorBase.grad_fn

    def noting_apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() == thread:
            found.append(f"the autograd.Function {cls.__name__}")
        return apply.__get__(None, cls)(*args, **kwargs)

    def noting_hook(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() == thread:
            found.append("a hook on a tensor (Tensor.register_hook)")
        return hook(self, *args, **kwargs)

    def noting_node(self: Tensor) -> Any:
        if threading.get_ident() == thread and not code.is_of_torch(sys._getframe(1)):
            found.append("code that takes hold of autograd's nodes (Tensor.grad_fn)")
        return node.__get__(self)

    function.apply = classmethod(noting_apply)
    tensor.register_hook = noting_hook  # type: ignore[method-assign]
    tensor.grad_fn = property(noting_node)  # type: ignore[assignment]
    try:
        yield found
    finally:
        del tensor.grad_fn
        function.apply = apply
        tensor.register_hook = hook  # type: ignore[method-assign]


def custom_functions_of(output: Tensor) -> list[str]:
    """The custom autograd functions in the graph that autograd recorded of a real run.

    A function whose ``apply`` was taken hold of before tracing is met here alone.

    Args:
        output: What the run returned, connected to its inputs.
    """
    found: dict[str, None] = {}
    seen: set[Any] = set()
    stack = [output.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            name = type(node).__name__.removesuffix("Backward")
            found[f"the autograd.Function {name}"] = None
        stack += [following for following, _ in node.next_functions]
    return list(found)


def hooks_of(root: nn.Module) -> list[str]:
    """The modules under a root with backward hooks, and torch's global backward hooks."""
    found = [
        f"a backward hook on {name or 'the model'} ({type(module).__name__})"
        for name, module in root.named_modules()
        if any(getattr(module, hooks, None) for hooks in _HOOKS)
    ]
    if any(getattr(nn.modules.module, hooks, None) for hooks in _GLOBAL_HOOKS):
        found.append("a global backward hook on all modules")
    return found


def regions_of(program: Any) -> list[str]:
    """The regions of an exported program, before its decomposition, that take no gradients."""
    graphs = [
        m.graph for m in program.graph_module.modules() if isinstance(m, torch.fx.GraphModule)
    ]
    names = [str(node.target) for graph in graphs for node in graph.nodes]
    return [NO_GRAD] if any("set_grad_enabled" in name for name in names) else []
