"""Steps that write into a tensor, by places or in place; a gradient that is cut, and casts."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from program_builder import EVERYWHERE, Made, Maker, kind
from torch import Tensor


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


@kind("write a number", "networks affine selection", needs=lambda h: h.shape[-1] >= 2)
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
