import re
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from matplotlib import pyplot as plt
from own_process import in_a_process_of_its_own
from PIL import Image

from captum_xdnn.cli import main
from captum_xdnn.cli.demo import PICTURE
from captum_xdnn.cli.figure import Column, save_heat_maps
from captum_xdnn.cli.measure import Measurement, Method, Problem, format_table, measure
from captum_xdnn.data import load_fashion_mnist_samples
from captum_xdnn.models import x_cnn_small

QUICK = ("--repeat", "1", "--steps", "4", "--reference-steps", "8")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What one run with few steps prints. In this process warnings are errors."""
    out = tmp_path_factory.mktemp("demo") / "new" / "folder"
    with redirect_stdout(StringIO()) as printed:
        assert main([*QUICK, "--out", str(out)]) == 0
    return printed.getvalue()


@pytest.fixture(scope="module")
def problem() -> Problem:
    images, labels, _ = load_fashion_mnist_samples()
    return Problem(x_cnn_small(weights="DEFAULT").eval(), images, labels)


def _rows(text: str) -> dict[str, list[str]]:
    """Cells of each method's line."""
    lines = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    return {line[0]: line[1:] for line in lines if len(line) == 7 and "x" in line[4]}


def test_both_networks_are_shown(demo: str) -> None:
    x_dnn, twin = demo.split("== ")[1:]
    assert x_dnn.startswith("X-DNN (no biases): 95,984 parameters, 92")
    assert twin.startswith("twin (with biases): 96,162 parameters, 92")


def test_the_x_dnn_takes_one_exact_pass(demo: str) -> None:
    rows = _rows(demo.split("== ")[1])
    route, passes, _, _, gap, difference = rows["XIntegratedGradients"]
    assert route == "single_pass"
    assert float(passes) == 1
    assert float(gap) < 1e-4
    assert float(difference) < 1e-5
    assert rows["IG(4)"][:2] == ["captum", "4"]
    assert rows["IG(8)"][:2] == ["captum", "8"]


def test_the_twin_takes_captums_route(demo: str) -> None:
    rows = _rows(demo.split("== ")[2])
    assert rows["XIntegratedGradients"][:2] == ["captum", "4"]
    assert rows["XIntegratedGradients"][4:] == rows["IG(4)"][4:]


def test_the_twins_report_names_its_biases(demo: str) -> None:
    x_dnn, twin = demo.split("== ")[1:]
    assert "bias of 32 outputs is not zero" in twin
    assert "in: features.0 (Conv2d), features.3 (Conv2d), features.6 (Conv2d)\n" in twin
    assert "bias of" not in x_dnn


def test_says_where_the_picture_is(demo: str) -> None:
    match = re.search(r"Wrote the heat maps to (.*)", demo)
    assert match
    path = Path(match[1])
    assert path.is_absolute()
    assert path.name == PICTURE
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.height > picture.width > 600
        # Not blank: heat maps have colours, from green to pink.
        red, green, _ = np.asarray(picture.convert("RGB"), dtype=int).transpose(2, 0, 1)
        assert (green - red).max() > 50
        assert (red - green).max() > 50


def test_in_a_process_of_its_own_without_torchvision(tmp_path: Path) -> None:
    missing, folder = tmp_path / "missing", tmp_path / "folder"
    missing.mkdir()
    folder.mkdir()
    (missing / "torchvision.py").write_text("raise ModuleNotFoundError('no torchvision here')")
    done = in_a_process_of_its_own(*QUICK, folder=folder, before=(missing,))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert [file.name for file in folder.iterdir()] == [PICTURE]
    assert str(folder / PICTURE) in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "file"), "cannot make the folder file: File exists"),
        (("--repeat", "0"), "expected a positive integer, got '0'"),
        (("--steps", "many"), "expected a positive integer, got 'many'"),
        (("--spell",), "unrecognized arguments: --spell"),
        (("--repeat", "1", "certify"), "unrecognized arguments: certify"),
        (("incant",), "invalid choice: 'incant'"),
    ],
)
def test_usage_errors_take_one_line(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert re.match(r"python -m captum_xdnn( demo)?: error: ", error)


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "certify" in text
    assert "demo" in text


def test_passes_are_counted(problem: Problem) -> None:
    ig = IntegratedGradients(problem.model)
    methods = [
        Method("IG", partial(ig.attribute, problem.images, None, problem.target, None, steps), str)
        for steps in (1, 3)
    ]
    rows = measure(problem, methods, rounds=1)
    assert [row.passes for row in rows] == pytest.approx([1, 3])
    assert all(row.seconds > 0 for row in rows)


def test_completeness_gap(problem: Problem) -> None:
    # One pixel holds all of F(x) - F(0), but for 0.5 in one image.
    attributions = torch.zeros(10, 1, 28, 28, dtype=torch.float64)
    attributions[:, 0, 0, 0] = problem.output_difference()
    attributions[3, 0, 0, 0] -= 0.5
    (row,) = measure(problem, [Method("name", lambda: attributions, lambda: "way")], rounds=1)
    assert row.gap == pytest.approx(0.5, abs=1e-12)
    assert row.passes == 0
    assert (row.method, row.route) == ("name", "way")


def test_table() -> None:
    reference = Measurement("IG(300)", "captum", 300, 6.0, 1e-6, torch.tensor([[1.0, -3.0]]))
    rows = [
        Measurement("IG(50)", "captum", 50, 1.0, 2e-6, torch.tensor([[1.0, -2.0]])),
        reference,
        Measurement("ours", "single_pass", 1, 0.02, 3e-7, torch.tensor([[1.0, -3.0]])),
    ]
    text = format_table(rows, reference)
    assert len({len(line) for line in text.splitlines()}) == 1
    assert "difference to IG(300)" in text
    assert _rows(text) == {
        "IG(50)": ["captum", "50", "1.0000", "1.00x", "2.0e-06", "2.5e-01"],
        "IG(300)": ["captum", "300", "6.0000", "0.17x", "1.0e-06", "-"],
        "ours": ["single_pass", "1", "0.0200", "50.00x", "3.0e-07", "0.0e+00"],
    }


def test_pyplot_is_left_alone(tmp_path: Path) -> None:
    # As a plain dict: reading the backend through RcParams would choose one.
    before = plt.get_fignums(), dict(dict.items(plt.rcParams))
    images = torch.rand(2, 1, 8, 8)
    save_heat_maps(tmp_path / "a.png", images, ["a", "b"], [Column("column", images - 0.5)])
    assert (plt.get_fignums(), dict(dict.items(plt.rcParams))) == before
    assert (tmp_path / "a.png").stat().st_size > 1000
