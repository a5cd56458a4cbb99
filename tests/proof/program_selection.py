"""Steps that choose and place: views, indices, masks, order."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from program_builder import EVERYWHERE, Made, Maker, kind, plain
from torch import Tensor

plain("flatten", EVERYWHERE, lambda h: h.flatten(1))
plain("transpose", EVERYWHERE, lambda h: h.transpose(1, -1).contiguous())
plain("permute and reshape", EVERYWHERE, lambda h: h.movedim(1, -1).reshape(h.shape))
plain("flip", EVERYWHERE, lambda h: h.flip(-1))
plain("roll", EVERYWHERE, lambda h: h.roll(1, -1))
plain("repeat", EVERYWHERE, lambda h: h.repeat(*(1 for _ in h.shape[1:]), 2))
plain("expand", EVERYWHERE, lambda h: h.unsqueeze(1).expand(-1, 2, *h.shape[1:]).flatten(1, 2))
plain("unfold", EVERYWHERE, lambda h: h.unfold(-1, 2, 1).sum(-1))
plain("tril", "selection affine", lambda h: torch.diag_embed(h).tril().sum(-1))
plain("split and swap", EVERYWHERE, lambda h: torch.cat(h.chunk(2, -1)[::-1], -1))
plain("unbind", EVERYWHERE, lambda h: sum(h.unbind(-1)).unsqueeze(-1))
plain("strided slice", EVERYWHERE, lambda h: h[..., ::2])
plain("select", EVERYWHERE, lambda h: h[..., -1].unsqueeze(-1))
plain("reflect", EVERYWHERE, lambda h: torch.cat([h, h.flip(-1)[..., 1:]], -1))
plain("as_strided", "selection affine", lambda h: h.contiguous().as_strided(h.shape, h.stride()))
plain(
    "to images", "networks", lambda h: F.pad(h.flatten(1), (0, 18))[:, :18].unflatten(1, (2, 3, 3))
)
plain("to series", EVERYWHERE, lambda h: F.pad(h.flatten(1), (0, 8))[:, :8].unflatten(1, (2, 4)))

plain("cat", EVERYWHERE, lambda g, h: torch.cat([g, h], -1), arity=2)
plain("stack and reduce", "networks selection", lambda g, h: torch.stack([g, h]).amax(0), arity=2)
plain(
    "stack and mix",
    EVERYWHERE,
    lambda g, h: torch.stack([g, h], -1) @ torch.tensor([0.5, -2.0]).double(),
    arity=2,
)


@kind("cat with a constant", "networks affine selection")
def _cat_constant(make: Maker, h: Tensor) -> Made:
    number = make.constant()
    return (f"cat with {number}", lambda h: torch.cat([h, torch.full_like(h[..., :1], number)], -1))


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


@kind("embedding of the largest", "selection algebra", needs=lambda h: h.shape[-1] >= 2)
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


plain("chosen by a mask", "selection algebra", lambda h: h * h[h > 0].sum())


@kind("logic of comparisons", "selection", arity=2)
def _logic(make: Maker, g: Tensor, h: Tensor) -> Made:
    form = make.one_of("and", "or", "xor", "&")
    if form == "&":
        return "h * ((g > 0) & (h < 0))", lambda g, h: h * ((g > 0) & (h < 0))
    function = getattr(torch, f"logical_{form}")
    return f"h * logical_{form}(g > 0, h)", lambda g, h: h * function(g > 0, h)
