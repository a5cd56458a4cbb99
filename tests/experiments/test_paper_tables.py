"""The paper's comparisons, run on the ten bundled images."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from captum_xdnn.metrics.masking import METRICS

Imported = Callable[[str], ModuleType]


@pytest.fixture
def options(root: Path, tmp_path: Path) -> list[str]:
    out = tmp_path / "out"
    return ["--data", str(root), "--out", str(out), "--epochs", "1", "--images", "4"]


def test_tables_and_figure(imported: Imported, options: list[str]) -> None:
    out = Path(options[3])
    assert imported("paper_tables").main(options) == 0
    _, _, *rows = (out / "difference.md").read_text().splitlines()
    assert [row.split("|")[1].strip() for row in rows] == [
        "CNN (`x_cnn_small`), X-DNN",
        "CNN (`x_cnn_small`), with biases",
        "ResNet-18 (Fixup), X-DNN",
        "ResNet-18 (Fixup), with biases",
    ]
    cells = [[float(n) for n in re.findall(r"([\d.]+)(?: ± [\d.]+)? %", row)] for row in rows]
    for accuracy, tenth, difference in (cells[0], cells[2]):
        assert accuracy == tenth
        assert difference <= 1
    assert cells[1][2] > 10
    tables = (out / "masking.md").read_text().split("\n\n")
    assert len(tables) == 2
    found = [line.split("|")[2:-1] for line in tables[0].splitlines()[2:]]
    areas = [[float(area) for area in line] for line in found]
    assert [len(line) for line in areas] == [len(METRICS)] * 5
    assert areas[0] == pytest.approx(areas[4], abs=0.02)  # Integrated Gradients and X-Gradient
    assert areas[0] != pytest.approx(areas[1], abs=0.02)  # and random
    assert (out / "masking.png").stat().st_size > 10_000


def test_networks_are_kept(imported: Imported, options: list[str]) -> None:
    script = imported("paper_tables")
    script.main(options)
    out = Path(options[3])
    files = sorted(out.glob("*.pt"))
    assert [file.name for file in files] == ["x_resnet18_1.pt", "x_resnet18_bias_1.pt"]
    before = [file.stat().st_mtime_ns for file in files], (out / "difference.md").read_text()
    script.main(options)
    assert (
        [file.stat().st_mtime_ns for file in files],
        (out / "difference.md").read_text(),
    ) == before
