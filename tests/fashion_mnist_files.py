"""Small files of the layout of Fashion-MNIST, for the code that reads the real ones."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from captum_xdnn.data import load_fashion_mnist_samples


def write_bundled_images(root: Path) -> Path:
    """Write the bundled images in that layout; return the folder to pass as ROOT."""
    images, labels, _ = load_fashion_mnist_samples()
    pixels = (images[:, 0] * 255).round().to(torch.uint8).numpy()
    return write_fashion_mnist_files(root, pixels, labels.to(torch.uint8).numpy())


def write_fashion_mnist_files(
    root: Path, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]
) -> Path:
    """Write the same images as training and as test split; return the folder to pass as ROOT."""
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for split in ("train", "t10k"):
        (folder / f"{split}-images-idx3-ubyte").write_bytes(_idx(pixels))
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(_idx(labels))
    return root


def _idx(array: npt.NDArray[np.uint8]) -> bytes:
    # The idx format: two zeros, 8 for unsigned bytes, the number of dimensions; sizes; values.
    sizes = np.array(array.shape, dtype=">i4").tobytes()
    return bytes((0, 0, 8, array.ndim)) + sizes + array.tobytes()
