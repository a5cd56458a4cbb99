"""Images that ship with the package: ten of Fashion-MNIST, one for each class."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

__all__ = ["load_fashion_mnist_samples"]

SAMPLES_FILE = Path(__file__).parent / "fashion_mnist_samples.npz"


def load_fashion_mnist_samples() -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Read the first test image of each class of Fashion-MNIST, in the order of the classes.

    The rule looks at no network: nothing says that a network classifies these images correctly.

    Source: Xiao, Rasul, Vollgraf 2017, "Fashion-MNIST: a Novel Image Dataset for Benchmarking
    Machine Learning Algorithms" (MIT licence, copyright 2017 Zalando SE; the text of the licence
    lies beside the file).

    Returns:
        Images, float32 of shape ``(10, 1, 28, 28)`` in ``[0, 1]`` where 0 is black; labels, int64
        of shape ``(10,)``, which are 0 ... 9; and the names of the ten classes.

    Example:
        >>> images, labels, names = load_fashion_mnist_samples()
        >>> names[labels[9]]
        'Ankle boot'
    """
    with np.load(SAMPLES_FILE, allow_pickle=False) as samples:
        pixels = torch.from_numpy(samples["pixels"])
        labels = torch.from_numpy(samples["labels"])
        names = tuple(str(name) for name in samples["names"])
    return pixels[:, None].to(torch.float32) / 255, labels, names
