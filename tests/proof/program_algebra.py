"""Steps that are arithmetic: activations, products, powers, reductions."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from program_builder import Made, Maker, kind, plain
from torch import Tensor


def _angle(g: Tensor, h: Tensor) -> Tensor:
    """``atan2`` blind to the sign of zeros: that of 0 * z follows no law of real numbers."""
    return torch.atan2(g + 0.0, h + 0.0)


ACTIVATIONS = "networks algebra selection"
plain("relu", ACTIVATIONS, torch.relu)
plain("leaky_relu", ACTIVATIONS, lambda h: F.leaky_relu(h, 0.25))
plain("abs", ACTIVATIONS, torch.abs)
plain("neg", "networks algebra affine", torch.neg)
plain("threshold at 0", ACTIVATIONS, lambda h: F.threshold(h, 0.0, 0.0))
plain("rrelu, not training", ACTIVATIONS, lambda h: F.rrelu(h, 0.25, 0.25, False))

for _name, _function in {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "silu": F.silu,
    "softplus": F.softplus,
    "elu": F.elu,
    "hardswish": F.hardswish,
    "relu6": F.relu6,
    "exp": lambda h: torch.exp(h.clamp(max=3)),
    "sin": torch.sin,
    "log1p": lambda h: torch.log1p(h.abs()),
    "round": torch.round,
    "floor": torch.floor,
    "softmax": lambda h: torch.softmax(h, -1),
    "log_softmax": lambda h: torch.log_softmax(h, -1),
    "normalize with eps": lambda h: F.normalize(h, eps=0.5),
    "threshold at 1": lambda h: F.threshold(h, 1.0, 0.0),
    "hardtanh": F.hardtanh,
    "logsumexp": lambda h: torch.logsumexp(h, -1, keepdim=True),
    "cumprod": lambda h: torch.cumprod(h, -1),
    "softshrink": F.softshrink,
}.items():
    plain(_name, "", _function, breaks=True)

plain("square", "algebra", torch.square)
plain("cube", "algebra", lambda h: h**3)
plain("to the power 1", "algebra affine", lambda h: h**1)
plain("to the power 0", "algebra", lambda h: h**0)
plain("root of size", "algebra", lambda h: h.abs().sqrt())
plain("signed root", "algebra", lambda h: h.sign() * h.abs().sqrt())
plain("size to the power 1.5", "algebra", lambda h: h.abs() ** 1.5)
plain("reciprocal", "algebra", torch.reciprocal)
plain("rsqrt of size", "algebra", lambda h: h.abs().rsqrt())
plain("sign", "algebra selection", torch.sign)
plain("x over its norm", "algebra", lambda h: h / h.norm(dim=-1, keepdim=True))
plain("x over its sum", "algebra", lambda h: h / h.abs().sum(-1, keepdim=True))
plain("standardised", "algebra", lambda h: (h - h.mean(-1, keepdim=True)) / h.std(-1, keepdim=True))
plain("centred", "affine algebra networks", lambda h: h - h.mean(-1, keepdim=True))
plain("centred over the batch", "affine algebra", lambda h: h - h.mean(0))
plain("over the norm in the batch", "algebra", lambda h: h * h.norm(dim=0) / (h * h).sum(0))
plain("spectrum", "algebra", lambda h: torch.fft.rfft(h).abs())
plain("spectrum's parts", "affine", lambda h: torch.view_as_real(torch.fft.rfft(h)).flatten(-2))
plain("softsign", "algebra", lambda h: h / (h.abs() + h.abs().sum(-1, keepdim=True)))
plain("geometric mean", "algebra", lambda h: (h * h.flip(-1)).abs().sqrt())
plain("polar", "algebra", lambda h: torch.polar(h.abs(), _angle(h, h.flip(-1))).real)
plain("mean times sum", "algebra", lambda h: h.mean(-1, keepdim=True) * h.sum(-1, keepdim=True))

plain("sum of two", "networks algebra affine selection", torch.add, arity=2)
plain("difference", "networks algebra affine", torch.sub, arity=2)
plain("product", "algebra", torch.mul, arity=2)
plain("quotient", "algebra", torch.div, arity=2)
plain("product over sum", "algebra", lambda g, h: g * h / (g.abs() + h.abs()), arity=2)
plain("maximum", "networks selection algebra", torch.maximum, arity=2)
plain("minimum", "selection algebra", torch.minimum, arity=2)
plain("hypot", "algebra", torch.hypot, arity=2)
plain("fmod", "algebra", torch.fmod, arity=2)
plain("remainder", "algebra", torch.remainder, arity=2)
plain("copysign", "algebra", lambda g, h: torch.copysign(g, h + 0.0), arity=2)
plain("atan2", "algebra", _angle, arity=2)
plain("floor_divide", "algebra", torch.floor_divide, arity=2)
plain("addcmul", "algebra", lambda g, h: torch.addcmul(g * h, g, h, value=0.5), arity=2)
plain("addcdiv", "algebra", lambda g, h: torch.addcdiv(g, g * h, h), arity=2)
plain(
    "outer contraction", "algebra", lambda g, h: torch.einsum("b...i,b...j->b...i", g, h), arity=2
)
plain("gate", "", lambda g, h: g * torch.sigmoid(h), arity=2, breaks=True)
plain("gate by sign", "algebra selection", lambda g, h: g * (h > 0), arity=2)
plain(
    "cdist",
    "algebra",
    lambda g, h: torch.cdist(g[:, None].flatten(2), h[:, None].flatten(2)).flatten(1),
    arity=2,
)
plain("lerp", "affine networks algebra", lambda g, h: torch.lerp(g, h, 0.25), arity=2)
plain(
    "cosine_similarity",
    "",
    lambda g, h: F.cosine_similarity(g, h, -1, 0.5).unsqueeze(-1),
    arity=2,
    breaks=True,
)


@kind("lerp by weights", "affine", arity=2)
def _lerp(make: Maker, g: Tensor, h: Tensor) -> Made:
    weight = make.weights(g.shape[-1])
    return "lerp by weights", lambda g, h: torch.lerp(g, h, weight)


@kind("bmm", "algebra", arity=2, needs=lambda g, h: g.dim() == 3)
def _bmm(make: Maker, g: Tensor, h: Tensor) -> Made:
    return "bmm", lambda g, h: torch.bmm(g, h.transpose(1, 2))


@kind("add a number", "affine networks algebra selection")
def _add(make: Maker, h: Tensor) -> Made:
    number = make.constant()
    return f"h + {number}", lambda h: h + number


@kind("number minus", "affine networks")
def _rsub(make: Maker, h: Tensor) -> Made:
    number = make.constant()
    return f"{number} - h", lambda h: number - h


@kind("times a number", "affine networks algebra selection")
def _times(make: Maker, h: Tensor) -> Made:
    number = make.one_of(0.5, -2.0, 3.0, 0.0, h.shape[-1], -1)
    return f"{number} * h", lambda h: number * h


@kind("number over", "algebra")
def _over(make: Maker, h: Tensor) -> Made:
    return "2 / h", lambda h: 2 / h


@kind("times its shape", "affine networks")
def _shape(make: Maker, h: Tensor) -> Made:
    return "h * h.shape[0] + (h.shape[0] - B)", (
        lambda h, size=h.shape[0]: h * h.shape[0] + (h.shape[0] - size)
    )


@kind("times weights", "affine networks algebra selection")
def _scaled(make: Maker, h: Tensor) -> Made:
    weight = make.weights(*h.shape[1:])
    return "h * w", lambda h: h * weight


@kind("add weights", "affine networks")
def _shifted(make: Maker, h: Tensor) -> Made:
    shift = make.weights(*h.shape[1:]) if make.breaks() else torch.zeros(h.shape[1:]).double()
    return f"h + w, w {'not ' if shift.any() else ''}zero", lambda h: h + shift


@kind("over weights", "affine networks algebra")
def _divided(make: Maker, h: Tensor) -> Made:
    weight = make.positive(*h.shape[1:])
    return "h / w", lambda h: h / weight


@kind("clamp", "networks algebra selection")
def _clamp(make: Maker, h: Tensor) -> Made:
    low, high = make.one_of((0.0, None), (None, 0.0), (0, float("inf")), (0.0, 0.0))
    if make.breaks():
        low, high = make.one_of((None, 1.0), (-1.0, 1.0), (0.25, None), (0.0, 6.0))
    return f"clamp to ({low}, {high})", lambda h: torch.clamp(h, low, high)


@kind("clamp by tensors", "algebra selection", arity=2)
def _clamp_by(make: Maker, g: Tensor, h: Tensor) -> Made:
    return "clamp between -|h| and |h|", lambda g, h: torch.clamp(g, -h.abs(), h.abs())


@kind("norm", "algebra networks")
def _norm(make: Maker, h: Tensor) -> Made:
    order = make.one_of(1, 2, 3, float("inf"), -float("inf"), 0, 0.5)
    return f"norm {order}", lambda h: torch.linalg.vector_norm(h, order, dim=-1, keepdim=True)


@kind("reduction", "networks affine algebra selection")
def _reduction(make: Maker, h: Tensor) -> Made:
    axis = make.axis(h)
    name = make.one_of("sum", "mean", "nansum")
    if make.theme != "affine":
        name = make.one_of("sum", "mean", "amax", "amin", "nansum")
    function = getattr(torch, name)
    return f"{name} over {axis}", lambda h: function(h, dim=axis, keepdim=True)


@kind("statistic", "algebra")
def _statistic(make: Maker, h: Tensor) -> Made:
    name = make.one_of("var", "std", "prod")
    function = getattr(torch, name)
    return f"{name} over the last", lambda h: function(h, dim=-1, keepdim=True)


@kind("cumsum", "networks affine selection")
def _cumsum(make: Maker, h: Tensor) -> Made:
    axis = make.axis(h)
    return f"cumsum over {axis}", lambda h: torch.cumsum(h, axis)


@kind("einsum", "affine networks algebra")
def _einsum(make: Maker, h: Tensor) -> Made:
    weight = make.weights(h.shape[-1], 3)
    return "einsum ...i,ij->...j", lambda h: torch.einsum("...i,ij->...j", h, weight)


@kind("constant branch", "networks affine algebra")
def _constant(make: Maker, h: Tensor) -> Made:
    number = make.constant()
    return f"h + full_like(h, {number})", lambda h: h + torch.full_like(h, number)
