"""Products: bilinear operations, in which degrees add, and the sums some of them end in."""

from __future__ import annotations

from typing import Any

from captum_xdnn.proof.domain import Affine, Motion
from captum_xdnn.proof.laws import added, product
from captum_xdnn.proof.operand import Operand, is_zero
from captum_xdnn.proof.registry import register_rule

CONVOLUTIONS = [f"aten.conv{n}d.{kind}" for n in (1, 2, 3) for kind in ("default", "padding")]
TRANSPOSED = [
    "aten.conv_transpose1d.default",
    "aten.conv_transpose2d.input",
    "aten.conv_transpose3d.input",
]
BILINEAR = [
    "aten.mul.Tensor",
    "aten.mul.Scalar",
    "aten.mm.default",
    "aten.bmm.default",
    "aten.mv.default",
    "aten.dot.default",
    "aten.vdot.default",
    "aten.matmul.default",
    "aten.outer.default",
    "aten.linalg_cross.default",
]
LAYERS = ["aten.linear.default", *CONVOLUTIONS, *TRANSPOSED, "aten.convolution.default"]
WITH_SUM = [f"aten.{name}.default" for name in ("addmm", "addbmm", "baddbmm", "addmv")]


@register_rule(BILINEAR)
def _bilinear(self: Any, other: Any, /, *_: Any, **__: Any) -> Motion:
    """Linear in each of two arguments."""
    return product(self, other)


@register_rule(LAYERS)
def _layer(input: Any, weight: Any, bias: Any = None, *_: Any, **__: Any) -> Motion:
    """A bilinear map of input and weight, and a bias."""
    return _with_bias(product(input, weight), bias)


@register_rule("aten._trilinear.default")
def _trilinear(i1: Any, i2: Any, i3: Any, /, *_: Any, **__: Any) -> Motion:
    """Linear in each of three arguments."""
    return product(product(i1, i2), i3)


@register_rule("aten.bilinear.default")
def _bilinear_layer(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Motion:
    """Linear in each of three arguments, and a bias."""
    return _with_bias(product(product(input1, input2), weight), bias)


@register_rule(WITH_SUM)
def _product_and_sum(
    self: Any, left: Any, right: Any, /, *, beta: float = 1, alpha: float = 1
) -> Motion:
    """``beta self + alpha left @ right``."""
    term = 0 if alpha == 0 else product(left, right)
    return _with_bias(term, 0 if beta == 0 else self)


@register_rule("aten.addcmul.default")
def _addcmul(self: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Motion:
    """``self + value tensor1 * tensor2``."""
    return added(self, 0 if value == 0 else product(tensor1, tensor2))


@register_rule(["aten.lerp.Scalar", "aten.lerp.Tensor"])
def _lerp(self: Any, end: Any, weight: Any) -> Motion:
    """``self + weight (end - self)``."""
    return added(self, product(weight, added(end, self)))


def _with_bias(result: Motion | int, bias: Any) -> Motion:
    motion = added(result, 0 if bias is None else bias)
    if isinstance(motion, Affine) and isinstance(bias, Operand) and not is_zero(bias):
        count = bias.fake.numel()
        return Affine(f"bias of {count} output{'s' if count != 1 else ''} is not zero")
    return motion
