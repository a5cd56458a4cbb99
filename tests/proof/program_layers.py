"""Steps that are layers of networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from program_builder import Made, Maker, kind
from torch import Tensor


def _image(h: Tensor) -> bool:
    return h.dim() == 4


def _series(h: Tensor) -> bool:
    return h.dim() == 3


def _large_image(h: Tensor) -> bool:
    return h.dim() == 4 and min(h.shape[2:]) >= 2


@kind("linear", "networks affine algebra selection")
def _linear(make: Maker, h: Tensor) -> Made:
    size = make.one_of(2, 3, 4)
    weight, (text, bias) = make.weights(size, h.shape[-1]), make.bias(size)
    return f"linear with {text}", lambda h: F.linear(h, weight, bias)


@kind("addmm", "networks affine", needs=lambda h: h.dim() == 2)
def _addmm(make: Maker, h: Tensor) -> Made:
    weight, shift = make.weights(h.shape[1], 3), make.constant()
    beta = make.one_of(0, 1)
    added = torch.full((3,), shift or beta - 1.0, dtype=torch.float64)
    return f"addmm, beta {beta}, {added[0]}", lambda h: torch.addmm(added, h, weight, beta=beta)


@kind("conv1d", "networks affine", needs=_series)
def _conv1d(make: Maker, h: Tensor) -> Made:
    weight, (text, bias) = make.weights(2, h.shape[1], 2), make.bias(2)
    padding = make.one_of(0, 1, "same")
    return f"conv1d, padding {padding}, {text}", lambda h: F.conv1d(h, weight, bias, 1, padding)


@kind("conv2d", "networks affine", needs=_large_image)
def _conv2d(make: Maker, h: Tensor) -> Made:
    weight, (text, bias) = make.weights(2, h.shape[1], 2, 2), make.bias(2)
    stride, padding = make.integer(1, 2), make.integer(0, 1)
    return (
        f"conv2d, stride {stride}, padding {padding}, {text}",
        lambda h: F.conv2d(h, weight, bias, stride, padding),
    )


@kind("depthwise conv2d", "networks affine", needs=_large_image)
def _depthwise(make: Maker, h: Tensor) -> Made:
    channels = h.shape[1]
    weight, (text, bias) = make.weights(channels, 1, 2, 2), make.bias(channels)
    return (f"depthwise conv2d, {text}", lambda h: F.conv2d(h, weight, bias, 1, 1, groups=channels))


@kind("conv_transpose2d", "networks affine", needs=_image)
def _conv_transpose2d(make: Maker, h: Tensor) -> Made:
    weight, (text, bias) = make.weights(h.shape[1], 1, 2, 2), make.bias(1)
    return f"conv_transpose2d, {text}", lambda h: F.conv_transpose2d(h, weight, bias)


@kind("batch_norm", "networks affine")
def _batch_norm(make: Maker, h: Tensor) -> Made:
    size = h.shape[1]
    mean = make.weights(size)
    variance = make.positive(size) ** 2
    scale = make.weights(size)
    shift = mean * scale / variance.sqrt()
    text = "no shift"
    if make.breaks():
        shift, text = shift + 0.5, "shift"
    elif make.integer(0, 1):
        mean, shift = torch.zeros_like(mean), torch.zeros_like(mean)
    return (
        f"batch_norm, {text}",
        lambda h: F.batch_norm(h, mean, variance, scale, shift, False, 0.1, 0.0),
    )


@kind("batch_norm with eps", "networks affine")
def _batch_norm_eps(make: Maker, h: Tensor) -> Made:
    size = h.shape[1]
    mean = torch.zeros(size, dtype=torch.float64)
    variance, scale, (text, bias) = make.positive(size), make.weights(size), make.bias(size)
    return (
        f"batch_norm, eps 1e-5, {text}",
        lambda h: F.batch_norm(h, mean, variance, scale, bias, False, 0.1, 1e-5),
    )


@kind("layer_norm", "algebra")
def _layer_norm(make: Maker, h: Tensor) -> Made:
    eps = 1e-2 if make.breaks() else 0.0
    size = h.shape[-1]
    scale, shift = make.weights(size), make.weights(size) if make.breaks() else None
    return f"layer_norm, eps {eps}", lambda h: F.layer_norm(h, (size,), scale, shift, eps)


@kind("group_norm", "algebra", needs=lambda h: h.dim() > 2 and h.shape[1] % 2 == 0)
def _group_norm(make: Maker, h: Tensor) -> Made:
    eps = 1e-2 if make.breaks() else 0.0
    return f"group_norm, eps {eps}", lambda h: F.group_norm(h, 2, None, None, eps)


@kind("instance_norm", "algebra", needs=lambda h: h.dim() > 2)
def _instance_norm(make: Maker, h: Tensor) -> Made:
    eps = 1e-2 if make.breaks() else 0.0
    return f"instance_norm, eps {eps}", lambda h: F.instance_norm(h, eps=eps)


@kind("rms_norm", "algebra")
def _rms_norm(make: Maker, h: Tensor) -> Made:
    eps = 1e-2 if make.breaks() else 0.0
    return f"rms_norm, eps {eps}", lambda h: F.rms_norm(h, (h.shape[-1],), None, eps)


@kind("max_pool2d", "networks selection", needs=_large_image)
def _max_pool2d(make: Maker, h: Tensor) -> Made:
    padding = make.integer(0, 1)
    return f"max_pool2d, padding {padding}", lambda h: F.max_pool2d(h, 2, 1, padding)


@kind("max_pool1d", "networks selection", needs=_series)
def _max_pool1d(make: Maker, h: Tensor) -> Made:
    return "max_pool1d", lambda h: F.max_pool1d(h, 2)


@kind("adaptive_max_pool2d", "networks selection", needs=_image)
def _adaptive_max_pool2d(make: Maker, h: Tensor) -> Made:
    return "adaptive_max_pool2d", lambda h: F.adaptive_max_pool2d(h, 2)


@kind("max_unpool2d", "networks selection", needs=_large_image)
def _max_unpool2d(make: Maker, h: Tensor) -> Made:
    def compute(h: Tensor) -> Tensor:
        pooled, places = F.max_pool2d(h, 2, 2, return_indices=True)
        return F.max_unpool2d(pooled, places, 2, 2, output_size=h.shape[2:])

    return "max_pool2d and max_unpool2d", compute


@kind("avg_pool2d", "networks affine", needs=_large_image)
def _avg_pool2d(make: Maker, h: Tensor) -> Made:
    return "avg_pool2d", lambda h: F.avg_pool2d(h, 2, 1)


@kind("adaptive_avg_pool2d", "networks affine", needs=_image)
def _adaptive_avg_pool2d(make: Maker, h: Tensor) -> Made:
    return "adaptive_avg_pool2d", lambda h: F.adaptive_avg_pool2d(h, 1)


@kind("upsample", "networks affine", needs=_image)
def _upsample(make: Maker, h: Tensor) -> Made:
    mode = make.one_of("nearest", "bilinear", "bicubic")
    return f"upsample {mode}", lambda h: F.interpolate(h, scale_factor=2, mode=mode)


@kind("pixel_shuffle", "networks affine", needs=lambda h: h.dim() == 4 and h.shape[1] % 4 == 0)
def _pixel_shuffle(make: Maker, h: Tensor) -> Made:
    return "pixel_shuffle", lambda h: F.pixel_shuffle(h, 2)


@kind("grid_sample", "networks affine", needs=_image)
def _grid_sample(make: Maker, h: Tensor) -> Made:
    grid = make.weights(h.shape[0], 2, 2, 2) / 2
    if make.breaks():
        return "grid_sample at computed places", lambda h: F.grid_sample(
            h, torch.tanh(h[:, :1, :2, :1]).expand(-1, -1, -1, 2), align_corners=False
        )
    return "grid_sample", lambda h: F.grid_sample(h, grid, align_corners=False)


@kind("dropout", "networks affine")
def _dropout(make: Maker, h: Tensor) -> Made:
    return "dropout, not training", lambda h: F.dropout(h, 0.5, False)


@kind("attention", "algebra", needs=_series)
def _attention(make: Maker, h: Tensor) -> Made:
    if make.breaks():
        return "attention", lambda h: F.scaled_dot_product_attention(h, h, h)
    return "attention without softmax", lambda h: h @ h.transpose(1, 2) @ h


@kind("prelu", "networks algebra")
def _prelu(make: Maker, h: Tensor) -> Made:
    slope = make.weights(h.shape[1])
    return "prelu", lambda h: F.prelu(h, slope)


@kind("maxout", "networks algebra")
def _maxout(make: Maker, h: Tensor) -> Made:
    weight, (text, bias) = make.weights(6, h.shape[-1]), make.bias(6)
    return (f"maxout, {text}", lambda h: F.linear(h, weight, bias).unflatten(-1, (3, 2)).amax(-1))


@kind("residual block", "networks")
def _residual(make: Maker, h: Tensor) -> Made:
    size = h.shape[-1]
    weight, (text, bias) = make.weights(size, size), make.bias(size)
    return f"residual block, {text}", lambda h: h + torch.relu(F.linear(h, weight, bias))


@kind("squeeze and excite", "algebra", needs=_image)
def _squeeze_excite(make: Maker, h: Tensor) -> Made:
    weight = make.weights(h.shape[1], h.shape[1])
    if make.breaks():
        return (
            "squeeze and excite",
            lambda h: h * torch.sigmoid(h.mean((2, 3)) @ weight).unsqueeze(-1).unsqueeze(-1),
        )
    return (
        "squeeze and excite by relu",
        lambda h: h * torch.relu(h.mean((2, 3)) @ weight).unsqueeze(-1).unsqueeze(-1),
    )
