"""Families of layers whose attribution is written as ONNX: many small ones side by side in one network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

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
        parts = [self.of(n, x).flatten(1) @ self.get_buffer(f"weights_{n}") for n in self.names]
        return torch.stack(parts).sum(0)


def named(*layers: Layer) -> dict[str, Layer]:
    return {f"layer{index}": layer for index, layer in enumerate(layers)}


POINTWISE = (
    *(torch.exp, torch.abs, torch.sin, torch.square, lambda x: torch.log(x + 1.0), torch.atan),
    *(lambda x: torch.sqrt(x + 0.1), lambda x: torch.rsqrt(x + 0.5), lambda x: x.pow(3.0)),
    *(lambda x: torch.clamp(x, 0.2, 0.7), lambda x: torch.maximum(x, 1 - x), torch.erf),
    *(lambda x: torch.where(x > 0.5, x, x * 2), lambda x: x / (1 + x), torch.cosh, torch.sign),
    *(lambda x: torch.minimum(x, x.flip(-1)), lambda x: torch.special.expit(x), torch.expm1),
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
            *(nn.AvgPool1d(3, 2, padding=1), nn.AvgPool1d(4, 3, ceil_mode=True)),
            *(nn.AdaptiveAvgPool1d(4), nn.AdaptiveAvgPool1d(1)),
            *(nn.AdaptiveMaxPool1d(1), nn.LPPool1d(2, 3)),
        ),
        (3, 10),
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
    "pointwise": (POINTWISE, (3, 6)),
}
