"""Operations that pass no motion; only constants go through."""

from __future__ import annotations

import torch

from rules.case import (
    Case,
    Expected,
    Value,
    case,
    cautious,
    index,
    positive,
    real,
    refused,
    share,
    wide,
)

ACTIVATIONS = ("gelu", "elu", "silu", "mish", "hardswish", "celu", "selu", "softplus")
SATURATING = ("sigmoid", "tanh", "erf", "erfc", "hardsigmoid")
TRANSCENDENTAL = (
    "exp", "exp2", "expm1", "sinh", "cosh", "asinh", "sin", "cos", "tan", "atan", "sinc", "i0",
    "special_log_ndtr", "special_erfcx", "special_i0e", "special_i1", "special_i1e",
    "special_bessel_j0", "special_bessel_j1", "special_spherical_bessel_j0",
)  # fmt: skip
OF_POSITIVE = ("log", "log10", "log1p", "log2", "lgamma", "digamma", "special_entr")
OF_SHARE = ("asin", "acos", "atanh", "logit", "erfinv", "special_ndtri")
OF_TWO = ("logaddexp", "logaddexp2", "igamma", "igammac", "special_xlog1py")
ROUNDING = ("ceil", "floor", "round", "trunc", "frac")


ONE = "a transcendental function"


def positive_above(least: float) -> Value:
    return Value((3, 4), lambda g, s: least + torch.rand(s, generator=g, dtype=torch.float64))


def _refused(reason: str) -> dict[str, Expected]:
    return {"1": refused(reason), "A": refused(reason), "0": "0", "F": "F"}


def _unary(names: tuple[str, ...], reason: str, value: object) -> list[Case]:
    return [case(f"aten.{name}.default", value, table=_refused(reason)) for name in names]


def _more() -> list[Case]:
    """Transcendental functions of more than one argument, and losses."""
    one, two = _refused(ONE), {"1 1": refused(ONE), "F 1": refused(ONE), "0 F": "0"}
    above = positive_above(2.0)
    losses = ("smooth_l1_loss", "huber_loss")
    loss = {"1 F": refused("a loss"), "1 1": refused("a loss"), "F 0": "0"}
    margin = {"1 F": refused("a loss with a margin"), "0 F": "0"}
    place, places = index(3, below=4), index(3, 4, below=4)
    return [
        *(case(f"aten.{name}.default", positive(), positive(), table=two) for name in OF_TWO),
        case("aten.logsumexp.default", real(), [1], table=one),
        case("aten.logcumsumexp.default", real(), 1, table=one),
        case("aten.mvlgamma.default", above, 2, table={"0": "0", "F": "F"}),
        case("aten.polygamma.default", 1, positive(), table=one),
        case("aten.xlogy.Tensor", positive(), positive(), table={"1 1": refused(ONE), "F 0": "0"}),
        case("aten.xlogy.Scalar_Self", 2.0, positive(), table=one),
        case("aten.xlogy.Scalar_Other", positive(), 2.0, table={"1": cautious(ONE)}),
        case("aten.special_xlog1py.self_scalar", 2.0, positive(), table=one),
        case("aten.special_xlog1py.other_scalar", positive(), 2.0, table={"1": cautious(ONE)}),
        case("aten.special_zeta.default", above, positive(), table={"1 1": refused(ONE)}),
        case("aten.special_zeta.self_scalar", 2.0, positive(), table={"1": cautious(ONE)}),
        case("aten.special_zeta.other_scalar", above, 1.0, table={"1": refused(ONE)}),
        case("aten.glu.default", real(), 1, table=_refused("a gate that saturates")),
        *(case(f"aten.{name}.default", real(), share(), table=loss) for name in losses),
        case("aten.soft_margin_loss.default", real(), real(), table=loss),
        case("aten.multi_margin_loss.default", real(), place, table=margin),
        case(
            "aten.multilabel_margin_loss_forward.default", real(), places, 0, table={"0 F": "0, 0"}
        ),
        case(
            "aten._euclidean_dist.default",
            *(real(3, 2), real(4, 2)),
            table={"1 1": cautious("squared lengths"), "1 F": refused("squared lengths")},
        ),
        case("aten.renorm.default", real(), 2, 0, 1.0, table=_refused("norms are cut at a bound")),
        case("aten.nextafter.default", real(), real(), table={"1 F": cautious("the next number")}),
    ]


CASES = [
    *_more(),
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
