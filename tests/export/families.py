"""Families of layers whose attribution is written as ONNX: many small ones side by side in one network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Layer = Callable[[Tensor], Tensor]


class SideBySide(nn.Module):
    """Each layer by itself on the same input, what each gives summed with weights of its own."""

    def __init__(self, layers: dict[str, Layer], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict()
        self.functions: dict[str, Layer] = {}
        for name, layer in layers.items():
            if isinstance(layer, nn.Module):
                self.layers[name] = layer.eval()
            else:
                self.functions[name] = layer
        with torch.no_grad():
            sizes = {n: self.of(n, torch.rand(2, *shape))[0].numel() for n in layers}
        for name, size in sizes.items():
            self.register_buffer(f"weights_{name}", torch.randn(size, 2) / size**0.5)
        self.names = list(layers)

    def of(self, name: str, x: Tensor) -> Tensor:
        layer = self.layers[name] if name in self.layers else self.functions[name]
        found: Tensor = layer(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        parts = [
            self.of(n, x).reshape(len(x), -1) @ self.get_buffer(f"weights_{n}") for n in self.names
        ]
        return torch.stack(parts).sum(0)


def named(*layers: Layer) -> dict[str, Layer]:
    return {f"layer{index}": layer for index, layer in enumerate(layers)}


def with_bias(layer: nn.Module) -> nn.Module:
    """A norm whose weights and statistics are as of some training."""
    for held in (*layer.parameters(), *layer.buffers()):
        if held.is_floating_point():
            nn.init.uniform_(held, 0.5, 1.5)
    return layer


class LastOf(nn.Module):
    """The outputs of a recurrent layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(x)[0]
        return found


class Attends(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, **options)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return found


ACTIVATIONS = (
    *(nn.ReLU(), nn.LeakyReLU(0.2), nn.PReLU(3), nn.ReLU6(), nn.Hardtanh(-0.5, 0.4), nn.ELU()),
    *(nn.CELU(), nn.SELU(), nn.GELU(), nn.GELU(approximate="tanh"), nn.SiLU(), nn.Mish()),
    *(nn.Softplus(2.0), nn.Softsign(), nn.Softshrink(0.1), nn.Hardshrink(0.1), nn.Tanhshrink()),
    *(nn.Sigmoid(), nn.Tanh(), nn.LogSigmoid(), nn.Hardsigmoid(), nn.Hardswish(), nn.GLU(-1)),
    nn.Threshold(0.2, 0.0),
)
POINTWISE = (
    *(torch.exp, torch.abs, torch.sin, torch.square, lambda x: torch.log(x + 1.0), torch.atan),
    *(lambda x: torch.sqrt(x + 0.1), lambda x: torch.rsqrt(x + 0.5), lambda x: x.pow(3.0)),
    *(lambda x: torch.clamp(x, 0.2, 0.7), lambda x: torch.maximum(x, 1 - x), torch.erf),
    *(lambda x: torch.where(x > 0.5, x, x * 2), lambda x: x / (1 + x), torch.cosh, torch.sign),
    *(lambda x: torch.minimum(x, x.flip(-1)), lambda x: torch.special.expit(x), torch.expm1),
)
INDEXING = (
    *(lambda x: x[:, 1], lambda x: x[:, :, 1:4:2], lambda x: x[:, [2, 0]], lambda x: x.flip(1)),
    *(lambda x: x[:, :, torch.tensor([0, 0, 3])], lambda x: x.roll(2, -1), lambda x: x[..., -1]),
    *(
        lambda x: x.gather(1, torch.zeros_like(x[:, :2]).long() + 1),
        lambda x: torch.cat([x, 2 * x], 1),
    ),
    *(lambda x: x.index_select(-1, torch.tensor([1, 1, 0])), lambda x: x.transpose(1, 2)),
    *(
        lambda x: torch.stack(x.unbind(1), -1),
        lambda x: x.repeat(1, 2, 1),
        lambda x: x.unfold(-1, 3, 2),
    ),
    lambda x: torch.zeros_like(x).scatter_add(-1, torch.zeros_like(x).long() + 1, x),
    *(lambda x: x.cumsum(-1), lambda x: torch.tril(x), lambda x: x.masked_fill(x > 0.5, 0.0)),
    *(
        lambda x: torch.split(x, 2, -1)[0],
        lambda x: x.permute(0, 2, 1),
        lambda x: x.diagonal(0, 1, 2),
    ),
    *(
        lambda x: F.pad(x, (1, 2)),
        lambda x: F.pad(x, (2, 1), "reflect"),
        lambda x: F.pad(x, (1, 1), "replicate"),
    ),
    *(
        lambda x: F.pad(x, (1, 1), "circular"),
        lambda x: x.sort(-1).values,
        lambda x: x.topk(2, -1).values,
    ),
)
REDUCTIONS = (
    *(lambda x: x.sum(-1), lambda x: x.mean(1), lambda x: x.amax(-1), lambda x: x.max(-1).values),
    *(lambda x: x.var(-1), lambda x: x.std(1), lambda x: x.norm(dim=-1)),
    *(lambda x: torch.logsumexp(x, -1), lambda x: x.amin((1, 2)), lambda x: F.normalize(x, dim=1)),
    *(
        lambda x: torch.softmax(x, -1),
        lambda x: torch.log_softmax(x, 1),
        lambda x: x @ x.transpose(1, 2),
    ),
    *(
        lambda x: torch.einsum("bij,bkj->bik", x, x),
        lambda x: F.cosine_similarity(x, x.flip(1), dim=-1),
    ),
)

FAMILIES: dict[str, tuple[tuple[Layer, ...], tuple[int, ...]]] = {
    "convolutions in 1d": (
        (
            *(nn.Conv1d(4, 6, 3), nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2)),
            *(
                nn.Conv1d(4, 8, 2, stride=3, groups=4, bias=False),
                nn.Conv1d(4, 4, 3, padding="same"),
            ),
            nn.ConvTranspose1d(
                4, 6, 3, stride=3, padding=1, output_padding=2, dilation=2, groups=2
            ),
        ),
        (4, 13),
    ),
    "convolutions in 2d": (
        (
            *(nn.Conv2d(4, 6, 3, stride=(2, 3), padding=(1, 0)), nn.Conv2d(4, 4, 3, groups=4)),
            *(nn.Conv2d(4, 6, (3, 2), dilation=(1, 2), groups=2), nn.Conv2d(4, 3, 1, stride=4)),
            nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
            nn.ConvTranspose2d(4, 2, 2, dilation=3, output_padding=1, stride=(2, 3)),
            nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
        ),
        (4, 9, 10),
    ),
    "convolutions in 3d": (
        (
            *(nn.Conv3d(2, 4, 3, stride=2, padding=1), nn.Conv3d(2, 4, (1, 2, 3), groups=2)),
            nn.ConvTranspose3d(2, 4, 3, stride=2, padding=1, output_padding=1, groups=2),
        ),
        (2, 5, 6, 7),
    ),
    "pooling in 1d": (
        (
            *(nn.MaxPool1d(3, 2), nn.MaxPool1d(2), nn.MaxPool1d(3, 1, padding=1, ceil_mode=True)),
            nn.MaxPool1d(2, 3, padding=1, ceil_mode=True),
            *(nn.AvgPool1d(3, 2, padding=1), nn.AvgPool1d(4, 3, ceil_mode=True)),
            *(nn.AdaptiveAvgPool1d(4), nn.AdaptiveAvgPool1d(1)),
            *(nn.AdaptiveMaxPool1d(1), nn.LPPool1d(2, 3)),
        ),
        (3, 10),
    ),
    "pooling in 2d": (
        (
            *(nn.MaxPool2d(3, 2), nn.MaxPool2d(3, 2, padding=1, ceil_mode=True)),
            *(nn.MaxPool2d(2, 3, padding=1, ceil_mode=True), lambda x: F.max_pool2d(x[:, 0], 2)),
            *(nn.MaxPool2d(2, 1, dilation=2), nn.MaxPool2d((2, 3))),
            *(nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), nn.AvgPool2d(2)),
            *(nn.AvgPool2d(3, 2, ceil_mode=True), nn.LPPool2d(2, 2), nn.AdaptiveMaxPool2d(2)),
            lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
            *(nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d((3, 4)), nn.AdaptiveAvgPool2d((5, 2))),
            nn.AdaptiveMaxPool2d(1),
        ),
        (3, 10, 8),
    ),
    "pooling in 3d": (
        (
            *(nn.MaxPool3d(2), nn.MaxPool3d(3, 2, padding=1), nn.AvgPool3d(2)),
            *(
                nn.AvgPool3d(3, 2, padding=1, count_include_pad=False),
                nn.AdaptiveAvgPool3d((2, 3, 1)),
            ),
        ),
        (2, 6, 7, 5),
    ),
    "resizing": (
        (
            *(nn.Upsample(scale_factor=2), nn.Upsample(size=(7, 9))),
            *(
                nn.Upsample(scale_factor=2, mode="bilinear"),
                nn.Upsample(size=(5, 11), mode="bilinear", align_corners=True),
            ),
            *(
                nn.Upsample(scale_factor=0.5, mode="bilinear"),
                nn.PixelShuffle(2),
                nn.PixelUnshuffle(2),
            ),
            nn.Upsample(scale_factor=2, mode="bicubic"),
            lambda x: F.interpolate(x.unsqueeze(2), scale_factor=2, mode="trilinear"),
            lambda x: F.interpolate(x.flatten(2), scale_factor=2, mode="linear"),
        ),
        (4, 6, 8),
    ),
    "padding": (
        (
            *(nn.ZeroPad2d((1, 2, 0, 1)), nn.ReflectionPad2d((1, 2, 3, 0)), nn.ReplicationPad2d(2)),
            *(nn.ConstantPad2d(1, 3.0), nn.CircularPad2d(1)),
        ),
        (2, 5, 6),
    ),
    "norms": (
        (
            *(with_bias(nn.BatchNorm2d(4)), nn.LayerNorm((5, 6)), with_bias(nn.GroupNorm(2, 4))),
            *(nn.InstanceNorm2d(4), nn.LocalResponseNorm(2), with_bias(nn.RMSNorm(6))),
            *(nn.Dropout(0.5), nn.LocalResponseNorm(3)),
        ),
        (4, 5, 6),
    ),
    "activations": (ACTIVATIONS, (3, 6)),
    "pointwise": (POINTWISE, (3, 6)),
    "indexing": (INDEXING, (3, 6)),
    "reductions": (REDUCTIONS, (3, 6)),
    "recurrent": (
        (
            LastOf(nn.LSTM(5, 3, num_layers=2, bidirectional=True, batch_first=True)),
            *(LastOf(nn.GRU(5, 3, batch_first=True)), LastOf(nn.RNN(5, 3, batch_first=True))),
        ),
        (4, 5),
    ),
    "attention": (
        (
            *(Attends(), Attends(bias=False)),
            lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
            lambda x: F.scaled_dot_product_attention(x, 2 * x, x, torch.ones(5, 5).tril().bool()),
        ),
        (5, 8),
    ),
}
