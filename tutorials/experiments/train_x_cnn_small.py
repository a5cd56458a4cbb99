"""Train `x_cnn_small` on Fashion-MNIST and write the files that the package bundles.

The bundled weights were made by this command, once as it stands and once with ``--bias``, in the
root of the repository::

    python tutorials/experiments/train_x_cnn_small.py --data ROOT --out captum_xdnn/models/weights

``ROOT/FashionMNIST/raw`` holds the four idx files of the data set. The learning rate, the schedule
and the number of epochs were set beforehand: no choice was made on the test images, and the last
epoch is the one that is kept.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum_xdnn.models.x_cnn_small import UnitPixels, XCNNSmall, x_cnn_small

__all__ = ["Split", "accuracy", "load_split", "main", "train"]

LEARNING_RATE = 3e-3
BATCH_SIZE = 128
CONTRASTS = (1.0, 0.1)


@dataclass(frozen=True)
class Split:
    """Images ``(N, 1, 28, 28)`` in ``[0, 1]``, labels ``(N,)``, and the names of the classes."""

    images: Tensor
    labels: Tensor
    categories: list[str]


def load_split(root: Path, *, train: bool, download: bool = False) -> Split:
    """Read the training or the test images of Fashion-MNIST.

    Args:
        root: Folder that holds ``FashionMNIST/raw`` with the idx files.
        train: The 60,000 training images if True, else the 10,000 test images.
        download: Whether torchvision may fetch files that are missing.

    Returns:
        The whole split, in the order of the files.
    """
    from torchvision.datasets import FashionMNIST  # the package's models work without torchvision

    dataset = FashionMNIST(str(root), train=train, download=download)
    return Split(UnitPixels()(dataset.data[:, None]), dataset.targets, list(dataset.classes))


def train(
    model: nn.Module,
    split: Split,
    *,
    epochs: int,
    seed: int,
    learning_rate: float = LEARNING_RATE,
) -> Iterator[float]:
    """Minimise the cross-entropy with Adam and a one-cycle schedule, an epoch at each ``next``.

    Args:
        model: Network that maps ``(N, 1, 28, 28)`` to logits; it is trained in place.
        split: Training images.
        epochs: Number of passes over the images.
        seed: Seed of the order of the images.
        learning_rate: Highest learning rate of the schedule.

    Yields:
        Mean training loss of the epoch.
    """
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    steps = epochs * len(torch.split(split.labels, BATCH_SIZE))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=learning_rate, total_steps=steps
    )
    for _ in range(epochs):
        model.train()
        total = 0.0
        shuffled = torch.randperm(len(split.labels), generator=order)
        for batch in torch.split(shuffled, BATCH_SIZE):
            loss = nn.functional.cross_entropy(model(split.images[batch]), split.labels[batch])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        yield total / len(split.labels)


@torch.no_grad()
def accuracy(model: nn.Module, split: Split, *, contrast: float = 1.0) -> float:
    """Percentage of images whose largest logit is that of their class.

    Returns:
        Accuracy between 0 and 100.
    """
    model.eval()
    batches = zip(torch.split(split.images, 1000), torch.split(split.labels, 1000), strict=True)
    hits = sum(
        int((model(images * contrast).argmax(1) == labels).sum()) for images, labels in batches
    )
    return 100 * hits / len(split.labels)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train one network, measure it on the test images, write its state dict and the facts.

    Args:
        arguments: Command line without the program's name; None for that of the process.

    Returns:
        Exit code 0.
    """
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    model = x_cnn_small(bias=options.bias)
    training = load_split(options.data, train=True, download=options.download)
    test = load_split(options.data, train=False, download=options.download)

    start = time.perf_counter()
    for epoch, loss in enumerate(
        train(model, training, epochs=options.epochs, seed=options.seed), start=1
    ):
        elapsed = time.perf_counter() - start
        _say(f"epoch {epoch}/{options.epochs}: mean loss {loss:.4f}, {elapsed:.0f} s")
    seconds = time.perf_counter() - start

    measured = {str(contrast): accuracy(model, test, contrast=contrast) for contrast in CONTRASTS}
    _say(f"test accuracy by contrast: {measured}")
    path = _write(model, options, test.categories, measured, seconds)
    _say(f"wrote {path} and {path.with_suffix('.json')}")
    return 0


def _write(
    model: XCNNSmall,
    options: argparse.Namespace,
    categories: list[str],
    measured: dict[str, float],
    seconds: float,
) -> Path:
    options.out.mkdir(parents=True, exist_ok=True)
    path: Path = options.out / f"x_cnn_small_fashion_mnist{'_bias' if options.bias else ''}.pt"
    torch.save(model.state_dict(), path)
    facts: dict[str, Any] = {
        "dataset": "Fashion-MNIST",
        "bias": options.bias,
        "num_params": sum(parameter.numel() for parameter in model.parameters()),
        "test_accuracy": {"acc@1": measured["1.0"], "acc@1, inputs x 0.1": measured["0.1"]},
        "epochs": options.epochs,
        "seed": options.seed,
        "optimizer": "Adam",
        "max_learning_rate": LEARNING_RATE,
        "schedule": "OneCycleLR",
        "batch_size": BATCH_SIZE,
        "device": "cpu",
        "threads": options.threads,
        "torch": torch.__version__,
        "seconds": round(seconds, 1),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "categories": categories,
    }
    path.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python tutorials/experiments/train_x_cnn_small.py",
        description="Train x_cnn_small on Fashion-MNIST; write weights and measurements.",
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="ROOT",
        help="folder that holds FashionMNIST/raw",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for the .pt and the .json file",
    )
    parser.add_argument("--bias", action="store_true", help="train the twin with biases")
    parser.add_argument(
        "--epochs",
        type=int,
        default=8,
        help="passes over the training images (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the weights and of the order (default: 0)"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="CPU threads; other numbers round otherwise (default: 1)",
    )
    parser.add_argument(
        "--download", action="store_true", help="let torchvision fetch the data set into ROOT"
    )
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
