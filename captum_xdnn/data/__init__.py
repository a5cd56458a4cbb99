"""Images that ship with the package."""

from captum_xdnn.data.fashion_mnist import load_fashion_mnist_samples

__all__ = ["load_fashion_mnist_samples"]
