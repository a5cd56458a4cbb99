"""What importing the package does, and what it leaves until it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

LATER = (
    "torchvision", "matplotlib.pyplot", "torch.export._trace", "torch._dynamo", "sympy.core.expr",
)  # fmt: skip


def _loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def test_the_package_loads_nothing_heavy_beyond_captum() -> None:
    beyond = _loaded_by("import captum_xdnn") - _loaded_by("import captum.attr")
    assert not beyond & set(LATER)


@pytest.mark.parametrize("module", ["captum_xdnn.data", "captum_xdnn.cli"])
def test_its_parts_load_neither_torchvision_nor_pyplot(module: str) -> None:
    loaded = _loaded_by(f"import captum_xdnn, {module}")
    beyond = loaded - _loaded_by("import captum.attr")
    assert not beyond & {"torchvision", "matplotlib.pyplot"}


def test_the_models_bring_torchvision_and_no_more() -> None:
    both = _loaded_by("import captum.attr, torchvision.models")
    beyond = _loaded_by("import captum_xdnn.models") - both
    assert not beyond & set(LATER)
