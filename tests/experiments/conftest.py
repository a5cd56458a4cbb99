"""The experiments whose tables are in the documentation, each run small."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from fashion_mnist_files import write_bundled_images

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
    return write_bundled_images(tmp_path)
