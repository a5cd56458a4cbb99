"""The experiments whose tables are in the documentation, each run small."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from fashion_mnist_files import write_fashion_mnist_files

from captum_xdnn.data import load_fashion_mnist_samples

FOLDER = Path(__file__).parents[2] / "tutorials" / "experiments"


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a script as running it does: its own folder is on the path."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The bundled images in files of Fashion-MNIST's layout."""
    pytest.importorskip("torchvision")
    images, labels, _ = load_fashion_mnist_samples()
    pixels = (images[:, 0] * 255).round().to(torch.uint8).numpy()
    return write_fashion_mnist_files(tmp_path, pixels, labels.to(torch.uint8).numpy())
