"""Make the file of sample images again from the test images of Fashion-MNIST.

Run ``python tutorials/experiments/make_fashion_mnist_samples.py --data ROOT``, where
``ROOT/FashionMNIST/raw`` holds the idx files of the data set.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from captum_xdnn.data import SAMPLES_FILE

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the first test image of each class, in the order of the classes, to one ``.npz`` file.

    The file has ``pixels`` (uint8, ``(10, 28, 28)``), ``labels`` (int64), ``indices`` (int64,
    places in the test file) and ``names``.

    Args:
        arguments: Command line without the program's name; None for that of the process.

    Returns:
        Exit code 0.
    """
    from torchvision.datasets import FashionMNIST  # reading the samples does not need torchvision

    parser = argparse.ArgumentParser(
        prog="python tutorials/experiments/make_fashion_mnist_samples.py"
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="ROOT",
        help="folder that holds FashionMNIST/raw",
    )
    parser.add_argument(
        "--out", type=Path, default=SAMPLES_FILE, metavar="FILE", help="file to write"
    )
    options = parser.parse_args(arguments)

    dataset = FashionMNIST(str(options.data), train=False)
    targets = dataset.targets.numpy()
    indices = np.array(
        [int(np.flatnonzero(targets == label)[0]) for label in range(len(dataset.classes))]
    )
    np.savez_compressed(
        options.out,
        pixels=dataset.data.numpy()[indices],
        labels=targets[indices],
        indices=indices,
        names=np.array(dataset.classes),
    )
    sys.stdout.write(f"wrote test images {indices.tolist()} to {options.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
