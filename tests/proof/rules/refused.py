"""Operations that pass no motion; only constants go through."""

from __future__ import annotations

from rules.case import Case, Expected, case, cautious, index, positive, real, refused, share, wide

ACTIVATIONS = ("gelu", "elu", "silu", "mish", "hardswish", "celu", "selu", "softplus")
SATURATING = ("sigmoid", "tanh", "erf", "hardsigmoid")
TRANSCENDENTAL = (
    "exp", "exp2", "expm1", "sinh", "cosh", "asinh", "sin", "cos", "tan", "atan",
)  # fmt: skip
OF_POSITIVE = ("log", "log10", "log1p", "log2")
OF_SHARE = ("asin", "acos", "atanh")
ROUNDING = ("ceil", "floor", "round", "trunc", "frac")


def _refused(reason: str) -> dict[str, Expected]:
    return {"1": refused(reason), "A": refused(reason), "0": "0", "F": "F"}


def _unary(names: tuple[str, ...], reason: str, value: object) -> list[Case]:
    return [case(f"aten.{name}.default", value, table=_refused(reason)) for name in names]


CASES = [
    *_unary(ACTIVATIONS, "an activation that is not positively homogeneous", real()),
    *_unary(SATURATING, "a saturating function", wide()),
    *_unary(TRANSCENDENTAL, "a transcendental function", real()),
    *_unary(OF_POSITIVE, "a transcendental function", positive()),
    *_unary(OF_SHARE, "a transcendental function", share()),
    *_unary(ROUNDING, "rounding to whole numbers", real(4, 8)),
    case(
        "aten._softmax.default", real(), 1, False, table=_refused("softmax compares exponentials")
    ),
    case(
        "aten._log_softmax.default",
        real(),
        1,
        False,
        table=_refused("softmax compares exponentials"),
    ),
    case("aten.cumprod.default", real(), 1, table=_refused("a product of as many factors")),
    case(
        "aten.frexp.Tensor",
        real(),
        table={"1": refused("mantissa and exponent"), "0": "0, 0", "F": "F, F"},
    ),
    case("aten.rand.default", [2], table={"": cautious("the function is random")}),
    case("aten.randn.default", [2], table={"": cautious("the function is random")}),
    case(
        "aten.rand_like.default", real(), table={"F": cautious("random"), "1": cautious("random")}
    ),
    case("aten.empty_like.default", real(), table={"F": cautious("uninitialised memory")}),
    case("aten.bitwise_not.default", index(3, below=4), table={"0": "0", "F": "F"}),
]
