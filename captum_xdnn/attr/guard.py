"""The guard: Euler's identity, checked at every call on numbers that the pass has anyway.

If the output is homogeneous (or affine) along the ray, the attributions of an example add up to
``F(x) - F(b)``. A call in which they do not contradicts its certificate.
"""

from __future__ import annotations

import torch
from torch import Tensor

SLACK = 64.0
"""Units of rounding allowed, relative to the sum of absolute attributions; see Architecture."""


def gap_exceeds(
    products: tuple[Tensor, ...], change: Tensor, scale: Tensor, precision: float
) -> Tensor:
    r"""Whether completeness fails beyond rounding, as one boolean tensor.

    .. math:: \bigl|\textstyle\sum_i A_i - (F(x) - F(b))\bigr| > c \, \epsilon \,
        \bigl(\sum_i |A_i| + |F(x)| + |F(b)|\bigr)

    Checked per example where there is one output per example, else for the whole batch.

    Args:
        products: The attributions :math:`A`, one tensor of shape ``(B, ...)`` per input.
        change: ``F(x) - F(b)``, shape ``(B,)`` or another number of outputs.
        scale: ``|F(x)| + |F(b)|`` in the shape of ``change``.
        precision: The unit of rounding :math:`\epsilon` of the computation.

    Returns:
        A boolean tensor without dimensions, on the device of the inputs.
    """
    total: Tensor | None = None
    mass: Tensor | None = None
    for attribution in products:
        flat = attribution.detach().flatten(1) if attribution.dim() > 1 else attribution.detach()
        if flat.dim() > 1:
            here, size = flat.sum(1), flat.abs().sum(1)
        else:
            here, size = flat, flat.abs()
        total = here if total is None else total + here
        mass = size if mass is None else mass + size
    if total is None or mass is None:
        message = "there is nothing to check without inputs"
        raise ValueError(message)
    change, scale = change.flatten().to(total.dtype), scale.flatten().to(total.dtype)
    if change.shape != total.shape:
        total, mass, change, scale = total.sum(), mass.sum(), change.sum(), scale.sum()
    allowed = (mass + scale) * (SLACK * precision)
    return ~((total - change).abs() <= allowed).all()


def precision_of(inputs: tuple[Tensor, ...], coarsest: float) -> float:
    """The unit of rounding of a computation on these inputs.

    Args:
        inputs: The inputs.
        coarsest: The largest unit among the dtypes inside the traced function.

    Returns:
        The largest of: the inputs' dtype, the function's dtypes, autocast's dtype, and TF32's
        where the GPU may use it.
    """
    device = inputs[0].device.type
    units = [coarsest, *(torch.finfo(tensor.dtype).eps for tensor in inputs)]
    if device in ("cpu", "cuda") and torch.is_autocast_enabled(device):
        units.append(torch.finfo(torch.get_autocast_dtype(device)).eps)
    if device == "cuda" and max(units) >= torch.finfo(torch.float32).eps:
        cuda = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
        units.append(2.0**-10 if cuda else 0.0)
    return max(units)
