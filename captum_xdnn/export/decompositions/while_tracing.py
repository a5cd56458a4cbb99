"""What is taken apart as the attribution is traced, not first where ONNX is written.

Torch has no kernel of it for an open batch size, or keeps it as it is as it takes a program apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from captum_xdnn._torch import decomposition_table

_aten = torch.ops.aten


def constant_pad_nd(self: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    """Padding by a constant; its backward pass is padding by less than nothing."""
    result = self
    for index in range(len(pad) // 2):
        dim, (before, after) = self.dim() - 1 - index, pad[2 * index : 2 * index + 2]
        first, last = max(-before, 0), result.shape[dim] - max(-after, 0)
        if before < 0 or after < 0:
            result = result.narrow(dim, first, last - first)
        shape = [*result.shape]
        widths = ([*shape[:dim], width, *shape[dim + 1 :]] for width in (before, after))
        left, right = ([result.new_full(w, value)] if w[dim] > 0 else [] for w in widths)
        if left or right:
            result = torch.cat([*left, result, *right], dim)
    return result.clone() if result is self else result


def shrink_backward(grad: Tensor, self: Tensor, lambd: float) -> Tensor:
    """Of ``softshrink`` and ``hardshrink``."""
    return torch.where((self >= -lambd) & (self <= lambd), 0.0, grad)


_KEPT = (_aten.silu_backward.default, _aten.mish_backward.default, _aten.baddbmm.default)
WHILE_TRACING: dict[Any, Callable[..., Any]] = {
    _aten.constant_pad_nd.default: constant_pad_nd,
    _aten.softshrink_backward.default: shrink_backward,
    _aten.hardshrink_backward.default: shrink_backward,
    **{op: decomposition_table[op] for op in _KEPT},
}
