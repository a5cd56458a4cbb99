"""``python -m captum_xdnn export``: what it writes, says, and refuses."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path

import pytest
import torch

from captum_xdnn.cli import main
from captum_xdnn.export import load

CODE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, bias=False, draws=False):
        super().__init__()
        self.hidden = nn.Linear(4, 8, bias=bias)
        self.head = nn.Linear(8, 3, bias=False)
        self.draws = draws

    def forward(self, x):
        x = torch.relu(self.hidden(x))
        return self.head(x * torch.rand_like(x) if self.draws else x)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "exported_models.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "exported_models", raising=False)
    return tmp_path


def export(*options: str) -> int:
    try:
        return main(["export", *options])
    except SystemExit as stopped:
        return int(stopped.code or 0)


@pytest.mark.parametrize(
    ("options", "route"),
    [
        ([], "route single_pass (exact), target argmax"),
        (
            ["--kwarg", "bias=True", "--n-steps", "5", "--target", "1"],
            "route hoisted (a part runs once, 5 steps), target [1]",
        ),
        (["--target", "given", "--baseline", "0.5", "--n-steps", "4"], "4 steps), target given"),
    ],
)
def test_it_writes_a_program_and_says_which(
    options: list[str], route: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--shape", "2,4", "--out", "new/net.pt2", "--check", *options]
    assert export("exported_models:Net", *options) == 0
    said = capsys.readouterr().out
    assert route in said
    assert "checked: attribute() and the file differ by" in said
    assert "Wrote" in said
    program = load("new/net.pt2")
    given = [torch.tensor([1, 2, 0])] if program.facts.target == "given" else []
    assert program(torch.rand(3, 4), *given).attributions.shape == (3, 4)


def test_onnx_is_written_and_checked(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    options = ("--shape", "2,4", "--out", "net.onnx", "--check", "--fixed-batch")
    assert export("exported_models:Net", *options) == 0
    assert "net.onnx" in capsys.readouterr().out
    assert load("net.onnx").facts.batch == 2


def test_a_model_that_no_graph_shows_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--shape", "2,4", "--out", "net.pt2", "--kwarg", "draws=True")
    assert export("exported_models:Net", *options) == 1
    assert "draws random numbers" in capsys.readouterr().out
    assert not Path("net.pt2").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "net.txt"], "a file that ends in .onnx or .pt2"),
        (["--out", "net.pt2", "--target", "best"], "argmax, given, none or an index"),
        (["--out", "net.pt2", "--target", "7"], "index 7 is out of bounds"),
        (["--out", "net.pt2", "--target", "none"], "Target not provided"),
        (["--out", "net.pt2", "--layer", "body"], "the model has no layer body"),
    ],
)
def test_a_wrong_command_line_takes_one_line(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export("exported_models:Net", "--shape", "2,4", *options) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_missing_package_is_named_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def without(name: str) -> object:
        if name.startswith("onnx"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name)

    monkeypatch.setattr("captum_xdnn.export.onnx_files.importlib.import_module", without)
    assert export("no_such_module:Net", "--shape", "2,4", "--out", "net.onnx") == 2
    assert 'pip install "captum-xdnn[export]"' in capsys.readouterr().err
