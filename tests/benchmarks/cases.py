"""What the benchmarks of Integrated Gradients run on: a model, the shape of its inputs, rounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torchvision
from torch import Tensor, nn

from .networks import x_alexnet, x_resnet50


@dataclass(frozen=True)
class Case:
    """A model to build, the shape of its inputs, how often to measure, the output to explain."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    rounds: int
    target: int = 1

    def made(self, device: torch.device) -> tuple[nn.Module, Tensor]:
        """The model and its inputs, always the same."""
        torch.manual_seed(0)
        return self.build().to(device), torch.randn(self.shape).to(device)


def perceptron(*widths: int, bias: bool = True, last: nn.Module | None = None) -> nn.Module:
    """Linear layers with ReLUs between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after, bias=bias), nn.ReLU()]
    layers[-1:] = [] if last is None else [last]
    return nn.Sequential(*layers)


def under(build: Callable[[], nn.Module], head: nn.Module) -> Callable[[], nn.Module]:
    """A network with something on top."""
    return lambda: nn.Sequential(build(), head).eval()


def torchvisions(name: str) -> Callable[[], nn.Module]:
    """A torchvision model whose batch norms shift."""
    return lambda: shifted(torchvision.models.get_model(name).eval())


def shifted(model: nn.Module) -> nn.Module:
    """The model with batch norms that shift, as those of trained models do: else it may be homogeneous."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
    return model


HEADS: dict[str, Case] = {
    "softmax on an AlexNet-sized X-DNN, batch 2": Case(
        under(x_alexnet, nn.Softmax(-1)), (2, 3, 224, 224), 3
    ),
    "sigmoid on an AlexNet-sized X-DNN, batch 1": Case(
        under(x_alexnet, nn.Sigmoid()), (1, 3, 224, 224), 5
    ),
    "softmax on a ResNet-50-sized X-DNN, batch 1": Case(
        under(x_resnet50, nn.Softmax(-1)), (1, 3, 112, 112), 3
    ),
    "sigmoid on a bias-free MLP 118-512-128-10, batch 64": Case(
        lambda: perceptron(118, 512, 128, 10, bias=False, last=nn.Sigmoid()), (64, 118), 15
    ),
}
PERCEPTRONS: dict[str, Case] = {
    "MLP 1000-512-10, batch 64": Case(lambda: perceptron(1000, 512, 10), (64, 1000), 15),
    "MLP 30-512-512-10, batch 64": Case(lambda: perceptron(30, 512, 512, 10), (64, 30), 15),
    "MLP 784-256-128-10, batch 16": Case(lambda: perceptron(784, 256, 128, 10), (16, 784), 25),
    "MLP 20-64-64-1 with sigmoid, batch 8": Case(
        lambda: perceptron(20, 64, 64, 1, last=nn.Sigmoid()), (8, 20), 51, target=0
    ),
}
NETWORKS: dict[str, Case] = {
    f"torchvision {name}, batch 2 of 64 x 64": Case(torchvisions(name), (2, 3, 64, 64), 7)
    for name in ("alexnet", "vgg11_bn", "resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5")
}
