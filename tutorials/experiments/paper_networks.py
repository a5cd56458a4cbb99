"""The networks of ``paper_tables.py``: two X-DNNs and their twins with biases, on Fashion-MNIST.

``x_cnn_small`` comes with the package. X-ResNet-18 and the Fixup ResNet-18 with biases are trained
here, all four by the same loop; a network that was trained before is read from its file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm
from train_x_cnn_small import Split, train

from captum_xdnn.models import X_CNN_Small_Weights, x_cnn_small, x_resnet18

LEARNING_RATE = 1e-3


class OneChannel(nn.Module):
    """A network for images of three channels, given grey images.

    Args:
        network: Takes ``(N, 3, H, W)``.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images of shape ``(N, 1, H, W)``."""
        logits: Tensor = self.network(x.expand(-1, 3, -1, -1))
        return logits


@dataclass(frozen=True)
class Network:
    """A trained network; an X-DNN if it has no biases."""

    name: str
    model: nn.Module
    bias: bool


def networks(training: Split, folder: Path, *, epochs: int) -> Iterator[Network]:
    """The four networks, in evaluation mode.

    Args:
        training: The images to train on.
        folder: Where weights are kept.
        epochs: Passes over these images.
    """
    weights = (X_CNN_Small_Weights.FASHION_MNIST, X_CNN_Small_Weights.FASHION_MNIST_BIAS)
    for bias, chosen in zip((False, True), weights, strict=True):
        name = "CNN (`x_cnn_small`)"
        yield Network(name, x_cnn_small(weights=chosen, bias=bias).eval(), bias)
    for bias in (False, True):
        yield Network(
            "ResNet-18 (Fixup)", _resnet(training, folder, bias=bias, epochs=epochs), bias
        )


def _resnet(training: Split, folder: Path, *, bias: bool, epochs: int) -> nn.Module:
    torch.manual_seed(0)
    model = OneChannel(x_resnet18(bias=bias, num_classes=10))
    path = folder / f"x_resnet18{'_bias' if bias else ''}_{epochs}.pt"
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval()
    losses = train(model, training, epochs=epochs, seed=0, learning_rate=LEARNING_RATE)
    for loss in (bar := tqdm(losses, total=epochs, desc=path.stem, unit="epoch")):
        bar.set_postfix(loss=f"{loss:.3f}")
    part = path.with_suffix(".part")
    torch.save(model.state_dict(), part)
    part.rename(path)
    return model.eval()
