"""What a node of a traced graph says about itself: mutable, random, a number, never read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch._ops import OpOverload
from torch.fx import Node

from captum_xdnn.homogeneity import registry


def is_mutable(target: Any) -> bool:
    """Whether an operation writes into its arguments."""
    return isinstance(target, OpOverload) and bool(target._schema.is_mutable)


def is_random(target: Any) -> bool:
    """Whether an operation draws random numbers."""
    return isinstance(target, OpOverload) and torch.Tag.nondeterministic_seeded in target.tags


def is_never_read(node: Node) -> bool:
    """Whether whatever takes this tensor takes it to write over it."""
    for user in node.users:
        position = registry.OVERWRITES.get(registry.name_of(user.target))
        taken = [i for i, argument in enumerate(user.args) if argument is node]
        if taken != [position] or node in user.kwargs.values():
            return False
    return True


def leaves_unwritten(node: Node) -> bool:
    """Whether torch returns memory that it has not written: a median along an expanded dimension.

    So does torch on a CPU, 2.13 and 2.14 at least; its gradient is that of the right median.
    """
    if registry.name_of(node.target) not in ("aten.median.dim", "aten.nanmedian.dim"):
        return False
    arguments: dict[str, Any] = {
        **dict(zip(("self", "dim"), node.args, strict=False)),
        **node.kwargs,
    }
    fake = arguments["self"].meta["val"]
    stride = fake.stride(arguments["dim"]) if fake.dim() else 1
    return fake.device.type == "cpu" and isinstance(stride, int) and stride == 0


def is_number(value: Any) -> bool:
    """Whether a value of the trace is a number of Python, symbolic or not."""
    return isinstance(value, int | float | torch.SymInt | torch.SymFloat | torch.SymBool)


def unbacked(node: Node) -> bool:
    """Whether a number depends on values of tensors, not on shapes alone."""
    return counts_values(node.meta.get("val"))


def number_of(value: Any, sizes: Mapping[Any, Any]) -> Any:
    """The number that a symbolic number stands for; None where ``sizes`` do not determine it."""
    if isinstance(value, int | float | bool):
        return value
    expression = value.node.expr.xreplace(dict(sizes))
    if getattr(expression, "free_symbols", None):
        return None
    if isinstance(value, torch.SymBool):
        return bool(expression)
    return float(expression) if isinstance(value, torch.SymFloat) else int(expression)


def counts_values(value: Any) -> bool:
    """Whether a symbolic number depends on values of tensors, not on shapes alone."""
    if isinstance(value, int | float):
        return False
    environment = value.node.shape_env
    unbacked = getattr(environment, "is_unbacked_symint", None)
    symbols = value.node.expr.free_symbols
    return any(unbacked(s) if unbacked else s not in environment.var_to_val for s in symbols)
