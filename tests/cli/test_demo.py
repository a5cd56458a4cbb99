import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from own_process import in_a_process_of_its_own
from PIL import Image

from captum_xdnn.cli import main
from captum_xdnn.cli.demo import PICTURE

QUICK = ("--repeat", "1", "--steps", "4", "--reference-steps", "8")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What one run with few steps prints. In this process warnings are errors."""
    out = tmp_path_factory.mktemp("demo") / "new" / "folder"
    with redirect_stdout(StringIO()) as printed:
        assert main([*QUICK, "--out", str(out)]) == 0
    return printed.getvalue()


def _rows(text: str) -> dict[str, dict[str, str]]:
    """Cells of each method's line, by the heads of the columns."""
    lines = [
        [c.strip() for c in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return {cells[0]: dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]}


def test_both_networks_are_shown(demo: str) -> None:
    x_dnn, twin = demo.split("== ")[1:]
    assert x_dnn.startswith("X-DNN (no biases): 95,984 parameters, 92")
    assert twin.startswith("twin (with biases): 96,162 parameters, 92")


def test_the_x_dnn_takes_one_exact_pass(demo: str) -> None:
    rows = _rows(demo.split("== ")[1])
    ours = rows["XIntegratedGradients"]
    assert ours["route"] == "single_pass"
    assert float(ours["passes"]) == 1
    assert float(ours["completeness gap"]) < 1e-4
    assert float(ours["difference to IG(4)"]) < 1e-5
    assert rows["IG(4)"]["passes"] == "4"
    assert rows["IG(4)"]["over IG(4)"] == "1.00x"
    assert re.search(
        r"Captum's 4 steps differ by [\d.]+e-0[678] of the whole from Captum's 8", demo
    )


def test_the_twin_takes_captums_route(demo: str) -> None:
    rows = _rows(demo.split("== ")[2])
    ours, theirs = rows["XIntegratedGradients"], rows["IG(4)"]
    # The calls before this one were watched, and refused twice: this one is Captum's alone, but for half a
    # pass that shows whether its steps may be divided.
    assert ours["route"] == "captum"
    assert float(ours["passes"]) in (4.0, 4.5)
    for head in ("completeness gap", "difference to IG(4)", "rank correlation"):
        assert ours[head] == theirs[head]
    assert float(ours["to Captum's, same steps"]) < 1e-6
    assert re.search(r"Captum.s 4 steps differ by 0\.\d+ of the whole", demo.split("== ")[2])


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
        assert picture.width > picture.height > 900
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
    said = [line for line in done.stderr.splitlines() if line.strip()]
    assert all(re.search(r"\d/6 \[.*step", line) for line in said)  # the bar, and nothing else
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
