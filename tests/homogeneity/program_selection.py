"""Steps that choose, place and overwrite: views, indices, masks, order, in-place writes, casts."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from program_builder import Compute, Maker, kind
from torch import Tensor

Made = tuple[str, Compute]
EVERYWHERE = "networks affine algebra selection"


def _plain(
    name: str, themes: str, compute: Compute, *, arity: int = 1, breaks: bool = False
) -> None:
    kind(name, themes, arity=arity, breaks=breaks)(lambda make, *_: (name, compute))


def _wide(h: Tensor) -> bool:
    return h.shape[-1] >= 2


_plain("flatten", EVERYWHERE, lambda h: h.flatten(1))
_plain("transpose", EVERYWHERE, lambda h: h.transpose(1, -1).contiguous())
_plain("permute and reshape", EVERYWHERE, lambda h: h.movedim(1, -1).reshape(h.shape))
_plain("flip", EVERYWHERE, lambda h: h.flip(-1))
_plain("roll", EVERYWHERE, lambda h: h.roll(1, -1))
_plain("repeat", EVERYWHERE, lambda h: h.repeat(*(1 for _ in h.shape[1:]), 2))
_plain("expand", EVERYWHERE, lambda h: h.unsqueeze(1).expand(-1, 2, *h.shape[1:]).flatten(1, 2))
_plain("unfold", EVERYWHERE, lambda h: h.unfold(-1, 2, 1).sum(-1))
_plain("tril", "selection affine", lambda h: torch.diag_embed(h).tril().sum(-1))
_plain("split and swap", EVERYWHERE, lambda h: torch.cat(h.chunk(2, -1)[::-1], -1))
_plain("unbind", EVERYWHERE, lambda h: sum(h.unbind(-1)).unsqueeze(-1))
_plain("strided slice", EVERYWHERE, lambda h: h[..., ::2])
_plain("select", EVERYWHERE, lambda h: h[..., -1].unsqueeze(-1))
_plain("reflect", EVERYWHERE, lambda h: torch.cat([h, h.flip(-1)[..., 1:]], -1))
_plain("as_strided", "selection affine", lambda h: h.contiguous().as_strided(h.shape, h.stride()))
_plain(
    "to images", "networks", lambda h: F.pad(h.flatten(1), (0, 18))[:, :18].unflatten(1, (2, 3, 3))
)
_plain("to series", EVERYWHERE, lambda h: F.pad(h.flatten(1), (0, 8))[:, :8].unflatten(1, (2, 4)))

_plain("cat", EVERYWHERE, lambda g, h: torch.cat([g, h], -1), arity=2)
_plain("stack and reduce", "networks selection", lambda g, h: torch.stack([g, h]).amax(0), arity=2)
_plain(
    "stack and mix",
    EVERYWHERE,
    lambda g, h: torch.stack([g, h], -1) @ torch.tensor([0.5, -2.0]).double(),
    arity=2,
)


@kind("cat with a constant", "networks affine selection")
def _cat_constant(make: Maker, h: Tensor) -> Made:
    number = make.constant()
    return (
        f"cat with {number}",
        lambda h: torch.cat([h, torch.full_like(h[..., :1], number)], -1),
    )


@kind("pad", "networks affine selection")
def _pad(make: Maker, h: Tensor) -> Made:
    number = make.constant()
    return f"pad with {number}", lambda h: F.pad(h, (1, 0), value=number)


@kind("pad by copies", EVERYWHERE, needs=lambda h: h.dim() > 2 and h.shape[-1] > 1)
def _pad_copies(make: Maker, h: Tensor) -> Made:
    mode = make.one_of("reflect", "replicate", "circular")
    width = (1, 1) if h.dim() == 3 else (1, 0, 0, 1)
    return f"pad {mode}", lambda h: F.pad(h, width, mode)


@kind("fixed index", EVERYWHERE)
def _index(make: Maker, h: Tensor) -> Made:
    places = make.indices(h.shape[-1], 3)
    form = make.one_of("[]", "index_select", "gather", "take_along_dim")
    if form == "[]":
        return form, lambda h: h[..., places]
    if form == "index_select":
        return form, lambda h: h.index_select(-1, places)
    wide = places.expand(*h.shape[:-1], 3)
    return form, lambda h: h.gather(-1, wide)


@kind("computed index", "selection algebra", arity=2)
def _computed_index(make: Maker, g: Tensor, h: Tensor) -> Made:
    form = make.one_of("argmax", "argsort", "topk")
    if form == "argmax":
        return "g at argmax h", lambda g, h: g.gather(-1, h.argmax(-1, keepdim=True))
    if form == "argsort":
        return "g in the order of h", lambda g, h: g.gather(-1, h.argsort(stable=True, dim=-1))
    return "g at the top of h", lambda g, h: g.gather(-1, h.topk(1, -1).indices)


@kind("order", "selection networks")
def _order(make: Maker, h: Tensor) -> Made:
    form = make.one_of("sort", "topk", "median", "kthvalue", "cummax", "mode", "max")
    if form == "topk":
        return form, lambda h: h.topk(1, -1).values
    if form == "kthvalue":
        return form, lambda h: h.kthvalue(1, -1, keepdim=True).values
    if form in ("sort", "cummax"):
        return form, lambda h: getattr(torch, form)(h, -1)[0]
    return form, lambda h: getattr(torch, form)(h, -1, keepdim=True)[0]


@kind("one-hot of the largest", "selection algebra")
def _one_hot(make: Maker, h: Tensor) -> Made:
    return "h * one_hot(argmax h)", lambda h: h * F.one_hot(h.argmax(-1), h.shape[-1])


@kind("embedding of the largest", "selection algebra", needs=_wide)
def _embedding(make: Maker, h: Tensor) -> Made:
    table = make.weights(h.shape[-1], h.shape[-1])
    return "h * embedding(argmax h)", lambda h: h * F.embedding(h.argmax(-1), table)


@kind("bucket", "selection")
def _bucket(make: Maker, h: Tensor) -> Made:
    edges = torch.tensor([-1.0, 0.0, 1.0] if make.breaks() else [0.0], dtype=torch.float64)
    return f"h * bucketize(h, {edges.tolist()})", lambda h: h * torch.bucketize(h, edges)


@kind("where", "selection algebra", arity=2)
def _where(make: Maker, g: Tensor, h: Tensor) -> Made:
    number, mask = make.constant(), make.mask(*g.shape[1:])
    form = make.one_of("g > c", "g > h", "mask", "isnan", "g > c, else c")
    if form == "g > c":
        return f"where(g > {number}, g, h)", lambda g, h: torch.where(g > number, g, h)
    if form == "g > h":
        return "where(g > h, g, h / 2)", lambda g, h: torch.where(g > h, g, h / 2)
    if form == "isnan":
        return "where(isnan(g / h), 0, g)", lambda g, h: torch.where(torch.isnan(g / h), 0.0, g)
    if form == "mask":
        return "where(mask, g, h)", lambda g, h: torch.where(mask, g, h)
    return f"where(g > 0, h, {number})", lambda g, h: torch.where(g > 0, h, number)


@kind("masked by a fixed mask", EVERYWHERE)
def _masked(make: Maker, h: Tensor) -> Made:
    mask, number = make.mask(*h.shape[1:]), make.constant()
    return f"masked_fill(mask, {number})", lambda h: h.masked_fill(mask, number)


@kind("masked by comparison", "selection algebra networks")
def _compared(make: Maker, h: Tensor) -> Made:
    form = make.one_of("> 0", "<= mean", "== max", "> c", "masked_fill", "!= 0", "|h| < 1")
    number = make.constant()
    if form == "> 0":
        return "h * (h > 0)", lambda h: h * (h > 0).double()
    if form == "<= mean":
        return "h * (h <= h.mean())", lambda h: h * (h <= h.mean(-1, keepdim=True))
    if form == "== max":
        return "h * (h == h.max())", lambda h: h * (h == h.amax(-1, keepdim=True))
    if form == "masked_fill":
        return f"masked_fill(h < 0, {number})", lambda h: h.masked_fill(h < 0, number)
    if form == "!= 0":
        return "h / count of h != 0", lambda h: h / (1 + (h != 0).sum(-1, keepdim=True))
    return f"h * (|h| > {number})", lambda h: h * (h.abs() > number)


@kind("masked maximum", "selection networks algebra")
def _masked_maximum(make: Maker, h: Tensor) -> Made:
    mask = make.mask(*h.shape[1:])
    mask[..., 0] = False
    form = make.one_of("fixed mask", "h > mean", "pad")
    if form == "fixed mask":
        return "max where not masked", lambda h: h.masked_fill(mask, -torch.inf).amax(-1, True)
    if form == "pad":
        return (
            "max pooling, padded",
            lambda h: F.pad(h, (1, 1), value=-torch.inf).unfold(-1, 2, 1).amax(-1),
        )
    return "min above the mean", lambda h: torch.where(
        h > h.mean(-1, keepdim=True), h, torch.inf
    ).amin(-1, True)


_plain("chosen by a mask", "selection algebra", lambda h: h * h[h > 0].sum())


@kind("logic of comparisons", "selection", arity=2)
def _logic(make: Maker, g: Tensor, h: Tensor) -> Made:
    form = make.one_of("and", "or", "xor", "&")
    if form == "&":
        return "h * ((g > 0) & (h < 0))", lambda g, h: h * ((g > 0) & (h < 0))
    function = getattr(torch, f"logical_{form}")
    return f"h * logical_{form}(g > 0, h)", lambda g, h: h * function(g > 0, h)


@kind("scatter", EVERYWHERE, arity=2)
def _scatter(make: Maker, g: Tensor, h: Tensor) -> Made:
    places = make.indices(g.shape[-1], *g.shape)
    form = make.one_of("scatter", "scatter_add", "index_add", "sum", "mean")
    if form == "index_add":
        flat = places.flatten()[: g.shape[-1]]
        return form, lambda g, h: g.index_add(-1, flat, h, alpha=2)
    if form in ("sum", "mean"):
        return f"scatter_reduce {form}", lambda g, h: g.scatter_reduce(-1, places, h, form)
    if form == "scatter":
        places = torch.argsort(torch.rand(g.shape, generator=make.generator), -1)
    return form, lambda g, h: getattr(g, form)(-1, places, h)


@kind("scatter to computed places", "selection", arity=2)
def _scatter_computed(make: Maker, g: Tensor, h: Tensor) -> Made:
    form = make.one_of("scatter_add", "amax", "put in order")
    if form == "amax":
        return "scatter_reduce amax", lambda g, h: g.scatter_reduce(-1, h.argsort(-1), h, "amax")
    if form == "scatter_add":
        return "scatter_add at argsort h", lambda g, h: g.scatter_add(-1, h.argsort(-1), g)
    return "zeros, scatter h", lambda g, h: torch.zeros_like(g).scatter(-1, g.argsort(-1), h)


@kind("write a number", "networks affine selection", needs=_wide)
def _write_number(make: Maker, h: Tensor) -> Made:
    number = make.constant()

    def compute(h: Tensor) -> Tensor:
        out = h.clone()
        out[..., 0] = number
        return out

    return f"h[..., 0] = {number}", compute


@kind("write a slice", EVERYWHERE, arity=2, needs=lambda g, h: g.shape[-1] >= 2)
def _write_slice(make: Maker, g: Tensor, h: Tensor) -> Made:
    form = make.one_of("slice", "add", "mask", "copy", "index")
    mask = make.mask(*g.shape[1:])

    def compute(g: Tensor, h: Tensor) -> Tensor:
        out = g.clone()
        if form == "slice":
            out[..., 1:] = h[..., :-1]
        elif form == "add":
            out[..., :1] += h[..., :1]
        elif form == "mask":
            out[:, mask] = h[:, mask]
        elif form == "index":
            out[..., [0, 1]] = h[..., [1, 0]]
        else:
            out.select(-1, 0).copy_(h.select(-1, 1))
        return out

    return f"write h into g, {form}", compute


@kind("in-place arithmetic", EVERYWHERE, arity=2)
def _in_place(make: Maker, g: Tensor, h: Tensor) -> Made:
    number = make.constant()
    form = make.one_of("add_ h", "add_", "mul_", "div_", "sub_ h", "lerp_")

    def compute(g: Tensor, h: Tensor) -> Tensor:
        out = g.clone()
        view = out.view(out.shape[0], -1)
        if form == "add_ h":
            out.add_(h, alpha=2)
        elif form == "add_":
            view.add_(number)
        elif form == "mul_":
            view.mul_(-3)
        elif form == "div_":
            view.div_(4)
        elif form == "sub_ h":
            out.sub_(h)
        else:
            out.lerp_(h, 0.5)
        return out

    return f"{form} {number}", compute


@kind("in-place activation", "networks selection algebra")
def _in_place_activation(make: Maker, h: Tensor) -> Made:
    number = make.constant()
    form = make.one_of("relu_", "abs_", "clamp_", "masked_fill_", "leaky_relu_", "zero_", "neg_")

    def compute(h: Tensor) -> Tensor:
        out = h.clone()
        if form == "clamp_":
            out.clamp_(min=number)
        elif form == "masked_fill_":
            out.masked_fill_(h < 0, number)
        elif form == "leaky_relu_":
            F.leaky_relu_(out, 0.5)
        elif form == "zero_":
            out[:, :1].zero_()
        else:
            getattr(out, form)()
        return out

    return f"{form} {number}", compute


@kind("cut gradient", EVERYWHERE, arity=2)
def _cut(make: Maker, g: Tensor, h: Tensor) -> Made:
    if make.integer(0, 2):
        message = "cut only now and then"
        raise ValueError(message)
    form = make.one_of("g + h.detach()", "g * h.detach()", "no_grad", "g - h.detach() + h")
    make.program.cut = True
    if form == "no_grad":

        def compute(g: Tensor, h: Tensor) -> Tensor:
            with torch.no_grad():
                scale = h.abs().sum(-1, keepdim=True)
            return g * scale

        return "g * |h| under no_grad", compute
    if form == "g + h.detach()":
        return form, lambda g, h: g + h.detach()
    if form == "g * h.detach()":
        return form, lambda g, h: g * h.detach()
    return form, lambda g, h: g - h.detach() + h


@kind("cast", EVERYWHERE)
def _cast(make: Maker, h: Tensor) -> Made:
    form = make.one_of("float32", "bool", "long")
    if make.breaks() and form == "long":
        return "h.long().double()", lambda h: h.long().double()
    if form == "float32" and make.integer(0, 2) == 0:
        make.program.rough = True
        return "h.float().double()", lambda h: h.float().double()
    if form == "bool":
        return "h * h.bool()", lambda h: h * h.bool()
    return "h * (h > 0).long()", lambda h: h * (h > 0).long()
