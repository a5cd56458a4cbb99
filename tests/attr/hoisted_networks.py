"""Functions with a proved trunk and an unproved head, each with data and a call that explains it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

WIDE = 12


@dataclass(frozen=True)
class Example:
    """A function, its inputs, and the other arguments of ``attribute``."""

    function: Callable[..., Tensor]
    inputs: tuple[Tensor, ...]
    call: dict[str, Any] = field(default_factory=lambda: {"target": 1})


def bias_free(*widths: int) -> nn.Sequential:
    """Degree 1, with a bend between the layers."""
    layers: list[nn.Module] = []
    for width, following in pairwise(widths):
        layers += [nn.ReLU(), nn.Linear(width, following, bias=False)]
    return nn.Sequential(*layers[1:])


def gelu_mlp() -> nn.Module:
    """Biased, in float64, inputs of shape (B, 6)."""
    layers = (nn.Linear(6, 16), nn.GELU(), nn.Linear(16, 3))
    return nn.Sequential(*layers).double()


class Chain(nn.Module):
    """A trunk and what is done with its result, both free to be any function."""

    def __init__(self, trunk: nn.Module, head: Callable[..., Tensor], *further: nn.Module) -> None:
        super().__init__()
        self.trunk, self.head, self.further = trunk, head, nn.ModuleList(further)

    def forward(self, *inputs: Any) -> Tensor:
        return self.head(self.trunk(inputs[0]), *inputs[1:], *self.further)


class Parts(nn.Module):
    """A function of the inputs and of modules."""

    def __init__(self, compute: Callable[..., Tensor], *parts: nn.Module) -> None:
        super().__init__()
        self.compute, self.parts = compute, nn.ModuleList(parts)

    def forward(self, *inputs: Any) -> Tensor:
        return self.compute(*inputs, *self.parts)


def rows(batch: int = 3) -> tuple[Tensor]:
    return (torch.randn(batch, 6),)


def words(batch: int = 3) -> tuple[Tensor]:
    return (torch.randn(batch, 5, 6),)


def images(batch: int = 3) -> tuple[Tensor]:
    return (torch.randn(batch, 3, 8, 8),)


def of_rows(head: Callable[..., Tensor], *further: nn.Module, **call: Any) -> Example:
    """A head on a bias-free network of 12 features."""
    net = Chain(bias_free(6, 16, WIDE), head, *further)
    return Example(net, rows(), call or {"target": 1})


def of_words(head: Callable[..., Tensor], *further: nn.Module) -> Example:
    """A head on five bias-free rows of 12 features."""
    return Example(Chain(bias_free(6, 16, WIDE), head, *further).eval(), words())


def biased(bend: nn.Module) -> Example:
    net = nn.Sequential(nn.Linear(6, 16), bend, nn.Linear(16, WIDE), bend, nn.Linear(WIDE, 3))
    return Example(net, rows())


def attended(*, batch_first: bool) -> Example:
    def head(h: Tensor, attention: nn.Module, last: nn.Module) -> Tensor:
        h = h if batch_first else h.transpose(0, 1)
        return last(attention(h, h, h, need_weights=False)[0].mean(1 if batch_first else 0))

    attention = nn.MultiheadAttention(WIDE, 3, batch_first=batch_first)
    return of_words(head, attention, nn.Linear(WIDE, 3))


def encoded(*, batch_first: bool, norm_first: bool = False) -> Example:
    def head(h: Tensor, layer: nn.Module, last: nn.Module) -> Tensor:
        h = h if batch_first else h.transpose(0, 1)
        return last(layer(h).mean(1 if batch_first else 0))

    layer = nn.TransformerEncoderLayer(
        WIDE, 3, 16, batch_first=batch_first, norm_first=norm_first, activation="gelu"
    )
    return of_words(head, layer, nn.Linear(WIDE, 3))


def masked_attention() -> Example:
    def head(h: Tensor, padding: Tensor, attention: nn.Module) -> Tensor:
        return attention(h, h, h, key_padding_mask=padding, need_weights=False)[0].mean(1)

    net = Chain(bias_free(6, WIDE), head, nn.MultiheadAttention(WIDE, 2, batch_first=True))
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] * 4 + [True]])
    return Example(net.eval(), words(), {"target": 1, "additional_forward_args": padding})


def recurrent(kind: type[nn.Module], *, both_ways: bool = False) -> Example:
    def head(h: Tensor, layer: nn.Module, last: nn.Module) -> Tensor:
        return last(layer(h)[0][:, -1])

    layer = kind(WIDE, 7, batch_first=True, bidirectional=both_ways)
    return of_words(head, layer, nn.Linear(14 if both_ways else 7, 3))


def of_power(degree: float, bend: Callable[[Tensor], Tensor]) -> Example:
    """A trunk of degree 2 or 1/2, and a bend."""

    def head(x: Tensor, left: nn.Module, right: nn.Module) -> Tensor:
        if degree == 2:
            return bend(left(x) * right(x))
        return bend((left(x).abs() + right(x).abs()).sqrt())

    return Example(Parts(head, bias_free(6, 16, 4), bias_free(6, 16, 4)), rows())


def normalised(norm: nn.Module) -> Example:
    """Two convolutions without biases, a norm, a bend and a layer."""
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, bias=False),
        norm,
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 3),
    )
    return Example(randomised(net).eval(), images())


def randomised(net: nn.Module) -> nn.Module:
    """Statistics, scales and shifts of batch norms, and biases, as after a training."""
    for part in net.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
            nn.init.normal_(part.running_mean, std=0.2)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
            nn.init.uniform_(part.weight, 0.5, 1.5)
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.uniform_(parameter, 0.05, 0.25)  # no unit dies of it
    return net


def convolutions(*behind: nn.Module) -> Example:
    """A bias-free convolution, then anything that ends in a row of features."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), *behind, nn.Flatten(1))
    return Example(net.eval(), images())


def squeezed() -> Example:
    def head(h: Tensor, gate: nn.Module, last: nn.Module) -> Tensor:
        return last((h * torch.sigmoid(gate(h.mean((2, 3))))[:, :, None, None]).amax((2, 3)))

    trunk = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU())
    return Example(Chain(trunk, head, nn.Linear(8, 8), nn.Linear(8, 3)), images())


def text_convolutions() -> Example:
    """Convolutions over the embeddings of a text, their maxima over time, a biased head."""

    def compute(x: Tensor, *parts: nn.Module) -> Tensor:
        found = [torch.relu(conv(x.transpose(1, 2))).amax(2) for conv in parts[:3]]
        return F.log_softmax(parts[3](torch.tanh(parts[4](torch.cat(found, 1)))), 1)

    convolved = [nn.Conv1d(6, 4, width, bias=False) for width in (2, 3, 4)]
    return Example(Parts(compute, *convolved, nn.Linear(WIDE, 3), nn.Linear(WIDE, WIDE)), words())


def mixed(batch: int = 3) -> Example:
    """An MLP-mixer block: layers over tokens and over features."""

    def head(h: Tensor, tokens: nn.Module, features: nn.Module, norm: nn.Module) -> Tensor:
        h = h + tokens(norm(h).transpose(1, 2)).transpose(1, 2)
        return (h + features(norm(h))).mean(1)

    tokens = nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 5))
    features = nn.Sequential(nn.Linear(WIDE, 7), nn.GELU(), nn.Linear(7, WIDE))
    return of_words(head, tokens, features, nn.LayerNorm(WIDE))
