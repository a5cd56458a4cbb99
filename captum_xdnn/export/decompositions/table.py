"""The table: ours for what torch has no decomposition of, torch's own for the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from captum_xdnn._torch import OpOverload, decomposition_table, pytree
from captum_xdnn.export.decompositions import by_dimension, choosing, convolutions

_aten = torch.ops.aten

OURS: dict[OpOverload, Callable[..., Any]] = {
    **convolutions.DECOMPOSITIONS,
    **by_dimension.DECOMPOSITIONS,
    **choosing.DECOMPOSITIONS,
}
TORCHS: dict[OpOverload, Callable[..., Any]] = {
    op: how
    for op, how in decomposition_table.items()
    if isinstance(op, OpOverload)
    and "_backward" in op._schema.name
    and not str(op).endswith(".out")
}
TABLE = {**TORCHS, **OURS}

_FINITE = """
    _adaptive_avg_pool2d _adaptive_avg_pool2d_backward add addmm alias amax argmax avg_pool2d avg_pool2d_backward
    bmm cat clone convolution convolution_backward detach div embedding eq expand flatten gather getitem
    index_select leaky_relu leaky_relu_backward max_pool2d_with_indices max_pool2d_with_indices_backward mean mm mul
    neg new_zeros ones_like permute relu reshape scatter_add select select_backward slice slice_backward _softmax
    _softmax_backward_data squeeze stack sub sum t threshold_backward _to_copy transpose unbind unsqueeze view
    zeros_like
"""
"""Operations that make nothing infinite of finite numbers; of ``div`` that by a number."""
_BY_MATRICES = (*by_dimension.DECOMPOSITIONS, _aten.unfold_backward.default)


def table_of(program: ExportedProgram) -> dict[Any, Callable[..., Any]]:
    """The table for a program: by what products it has, zero times infinity among them is no number.

    Torch passes an infinite gradient to the places that a ReLU or a mean have it of, and to no other.
    """
    if _is_finite(program):
        return {**TABLE, _aten.threshold_backward.default: choosing.threshold_backward}
    backward = (op for op in _BY_MATRICES if "_backward" in op._schema.name)
    return {**TABLE, **{op: _kept_apart(TABLE[op]) for op in backward}}


def _is_finite(program: ExportedProgram) -> bool:
    """Whether finite inputs have finite gradients everywhere, but for an overflow in single precision."""
    names = {*_FINITE.split()}
    held = (*program.state_dict.values(), *program.constants.values())
    if not all(bool(t.isfinite().all()) for t in held if isinstance(t, Tensor)):
        return False
    reached = {n for n in program.graph.nodes if n.name in program.graph_signature.user_inputs}
    for node in program.graph.nodes:
        values = [v for v in pytree.tree_leaves(node.meta.get("val")) if isinstance(v, Tensor)]
        if any(v.dtype == torch.float16 for v in values):
            return False
        if node.op != "call_function" or not values or reached.isdisjoint(node.all_input_nodes):
            continue
        reached.add(node)
        name = getattr(node.target, "__name__", "").partition(".")[0]
        divisor = getattr(node.args[1], "meta", {}).get("val") if name == "div" else None
        if name not in names or isinstance(divisor, Tensor):
            return False
    return True


def _kept_apart(backward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A linear operation on gradients; what some are no finite number of is none, and all else as without them."""

    def careful(grad: Tensor, *rest: Any) -> Tensor:
        bad = grad.isfinite().logical_not()
        found = backward(torch.where(bad, 0.0, grad), *rest)
        return torch.where(backward(bad.to(grad.dtype), *rest) != 0, float("nan"), found)

    return careful
