"""Networks that are exported, each with an example, what else the export takes, and its route."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from captum_xdnn import models
from captum_xdnn.convert import to_xdnn


@dataclass
class Case:
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    route: str
    options: dict[str, Any] = field(default_factory=dict)
    layer: str = ""
    tokens: int = 0  # so many words, for networks of indices

    def inputs(self, rows: int) -> Tensor:
        if self.tokens:
            return torch.randint(0, self.tokens, (rows, *self.shape))
        return torch.rand(rows, *self.shape)


def perceptron(*, bias: bool = False, last: nn.Module | None = None) -> nn.Sequential:
    layers = [
        *(nn.Linear(10, 32, bias=bias), nn.ReLU()),
        *(nn.Linear(32, 32, bias=bias), nn.LeakyReLU(0.1)),
        nn.Linear(32, 3, bias=bias),
    ]
    return nn.Sequential(*layers, *([] if last is None else [last]))


class TextCNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 16, padding_idx=0)
        self.convolution = nn.Conv1d(16, 32, 3, padding=1)
        self.head = nn.Linear(32, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        found = torch.relu(self.convolution(self.words(tokens).transpose(1, 2)))
        return self.head(found.amax(2))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).mean(1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(5, 6, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(x)[0][:, -1])


class TwoHeads(nn.Module):
    """Of one output for each row, of which there is nothing to choose."""

    def __init__(self) -> None:
        super().__init__()
        self.net = perceptron(bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).sum(1)


def small(*, softmax: bool = False) -> nn.Module:
    net = models.x_cnn_small(weights="DEFAULT")
    return nn.Sequential(net, nn.Softmax(1)) if softmax else net


def biased_twin() -> nn.Module:
    """``x_cnn_small`` with biases."""
    net = models.x_cnn_small(weights="DEFAULT")
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            count = layer.weight.shape[0]
            layer.bias = nn.Parameter(0.1 * torch.randn(count))
    return net


def converted(name: str, **options: Any) -> nn.Module:
    """A network of torchvision after ``to_xdnn``, its batch norms as of some training."""
    from torchvision import models as theirs

    images = torch.rand(2, 3, 64, 64)
    net, _ = to_xdnn(getattr(theirs, name)(weights=None, **options).eval(), inputs=images)
    return settled(net, 3)


def untrained(make: Callable[..., nn.Module]) -> nn.Module:
    """A network whose last layers, which begin at zero, are drawn."""
    net = make()
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return net


def settled(net: nn.Module, channels: int) -> nn.Module:
    """Its running statistics are those of some noise."""
    net.train()
    with torch.no_grad():
        net(torch.rand(4, channels, 64, 64))
    return net


IMAGES = (3, 64, 64)
FAST = {
    "perceptron": Case(perceptron, (10,), "single_pass"),
    "affine": Case(lambda: nn.Linear(10, 3), (10,), "single_pass"),
    "index": Case(perceptron, (10,), "single_pass", {"target": 1}),
    "given": Case(perceptron, (10,), "single_pass", {"target": "given"}),
    "biased": Case(lambda: perceptron(bias=True), (10,), "captum"),
    "baseline": Case(perceptron, (10,), "captum", {"baselines": torch.full((1, 10), 0.5)}),
    "one output": Case(TwoHeads, (10,), "captum"),
    "softmax": Case(lambda: perceptron(last=nn.Softmax(1)), (10,), "hoisted"),
    "x_cnn_small": Case(small, (1, 28, 28), "single_pass"),
    "softmax on x_cnn_small": Case(lambda: small(softmax=True), (1, 28, 28), "hoisted"),
    "text": Case(TextCNN, (12,), "hoisted", layer="words", tokens=50),
}
SLOW = {
    "biased twin": Case(biased_twin, (1, 28, 28), "captum"),
    "attention": Case(Attention, (5, 16), "captum", {"n_steps": 20}),
    "recurrent": Case(Recurrent, (4, 5), "captum", {"n_steps": 20}),
    "x_alexnet": Case(models.x_alexnet, IMAGES, "single_pass"),
    "x_vgg11": Case(lambda: models.x_vgg11(num_classes=20), (3, 32, 32), "single_pass"),
    "x_resnet18": Case(lambda: untrained(models.x_resnet18), IMAGES, "single_pass"),
    "x_resnet50": Case(lambda: untrained(models.x_resnet50), IMAGES, "single_pass"),
    "resnet18": Case(lambda: converted("resnet18"), IMAGES, "single_pass"),
    "resnet50": Case(lambda: converted("resnet50"), IMAGES, "single_pass"),
    "mobilenet_v2": Case(lambda: converted("mobilenet_v2"), IMAGES, "single_pass"),
    "densenet121": Case(lambda: converted("densenet121"), IMAGES, "single_pass"),
}
