"""The notebooks run from a clean start, and are committed with outputs that hold no error."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NOTEBOOKS = sorted((Path(__file__).parents[1] / "tutorials").glob("*.ipynb"))
MOST_SECONDS = 180


def named(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # of the kernel's own machinery
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=MOST_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    start = time.monotonic()
    client.execute()
    assert time.monotonic() - start < MOST_SECONDS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_a_notebook_is_committed_with_its_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {
        "stream",
        "display_data",
        "execute_result",
    }
    assert all(output.name == "stdout" for output in outputs if output.output_type == "stream")
    assert outputs
    assert not re.search(r"/(home|root|opt|tmp|Users)/", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_a_notebook_asserts_what_it_claims_and_says_how_long_it_takes(path: Path) -> None:
    first, *cells = nbformat.read(path, as_version=4).cells
    assert "After this notebook you" in first.source
    assert re.search(r"It takes\s.*\bminutes?\b", first.source, re.DOTALL)
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    assert len(re.findall(r"^\s*(assert |torch\.testing\.assert_close)", code, re.MULTILINE)) >= 3
