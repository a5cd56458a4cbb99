"""The examples of the help run as printed, and errors say what to do about them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

import captum_xdnn
from captum_xdnn.cli import attribute, certify, compare, export, main

CODE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, bias=True):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(784, 8, bias=bias), nn.ReLU(), nn.Linear(8, 5, bias=bias))

    def forward(self, x):
        return self.net(x)

class Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(10, 3), nn.Linear(3, 3)

    def forward(self, x, y):
        return self.one(x) + self.other(y)

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 5)

    def forward(self, ids):
        return self.embedding(ids).flatten(1)

class Holds(Net):
    def forward(self, x):
        return {"logits": self.net(x)}

build = Sum

def Photos():
    return [(torch.rand(1, 28, 28), i % 5) for i in range(6)]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("my_model", "my_code"):
        (tmp_path / f"{name}.py").write_text(CODE)
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    np.savez("images.npz", np.random.default_rng(0).random((4, 1, 28, 28)))
    return tmp_path


COMMANDS = {"certify": certify, "compare": compare, "attribute": attribute, "export": export}


def examples() -> list[str]:
    printed = "".join(
        command.EXAMPLES % {"prog": f"python -m captum_xdnn {name}"} + "\n"
        for name, command in COMMANDS.items()
    )
    lines = printed.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip().startswith("python -m captum_xdnn ")]


ELSEWHERE = (" torchvision:FashionMNIST:ROOT ", " --ray ")
"""Data that is not here, and a cluster with GPUs."""


def test_there_is_an_example_of_each_command() -> None:
    assert {shlex.split(e)[3] for e in examples()} == set(COMMANDS)
    assert sum(any(words in e for words in ELSEWHERE) for e in examples()) == 2


@pytest.mark.parametrize("example", [e for e in examples() if not any(w in e for w in ELSEWHERE)])
def test_examples_run_as_printed(example: str) -> None:
    if ".onnx" in example:
        pytest.importorskip("onnxruntime")
    assert main(shlex.split(example)[3:]) in (0, 1, 3)


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        ("compare my_model:Net --inputs images.npz --out new/out", "choose one by --target"),
        ("compare my_model:Holds --inputs images.npz --target 1 --out new/out", "one tensor"),
        ("compare my_model:Words --inputs images.npz --target 1 --out new/out", "--dtype int64"),
        ("compare my_model:Net --inputs images.npz --target 9 --out new/out", "out of bounds"),
        ("compare my_model:Net --inputs missing.npz --target 1 --out new/out", "missing.npz"),
        ("attribute --model my_code:Holds --data my_code:Photos --out new/out", "one tensor"),
        ("attribute --model my_code:Net --data torchvision:MNIST --out new/out", "NAME:ROOT"),
        ("attribute --model my_code:Net --data torchvision:MNIST:nowhere --out new/out", "put it"),
        ("certify my_model:Words --shape 2,5", "--dtype int64"),
    ],
)
def test_errors_say_what_to_do(
    command: str, advice: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(shlex.split(command))
    assert stopped.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if ": error: " in line]
    assert len(lines) == 1
    assert advice in lines[0]
    assert not (folder / "new").exists()


SCRIPT = re.search(
    r'^\[project\.scripts\]\n(.+) = "(.+)"$',
    (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"),
    re.MULTILINE,
)


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("/usr/bin/captum-xdnn", "captum-xdnn"),
        ("captum-xdnn.exe", "captum-xdnn"),
        (captum_xdnn.__file__.replace("__init__", "__main__"), "python -m captum_xdnn"),
    ],
)
def test_the_command_has_the_name_that_it_was_called_by(
    called: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert SCRIPT is not None
    command = EntryPoint(SCRIPT[1], SCRIPT[2], "console_scripts")
    assert command.name == "captum-xdnn"
    other = {"captum-xdnn", "python -m captum_xdnn"} - {name}
    for arguments in (["--help"], *([command, "--help"] for command in COMMANDS)):
        monkeypatch.setattr("sys.argv", [called, *arguments])
        with pytest.raises(SystemExit) as stopped:
            command.load()()
        assert stopped.value.code == 0
        said = capsys.readouterr().out
        assert said.startswith(f"usage: {name} {'' if len(arguments) == 1 else arguments[0]}")
        assert not any(word in said for word in other)
        if len(arguments) == 2:
            assert f"\n  {name} {arguments[0]} " in said  # an example


def test_a_folder_that_was_there_stays(folder: Path) -> None:
    (folder / "out").mkdir()
    with pytest.raises(SystemExit):
        main(shlex.split("compare my_model:Net --inputs images.npz --out out"))
    assert (folder / "out").is_dir()


def test_certify_names_the_class_for_token_ids(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split("certify my_model:Words --shape 2,5 --dtype int64")) == 1
    assert "XLayerIntegratedGradients(model, model.embedding)" in capsys.readouterr().out


def test_a_reader_who_has_seen_enough_ends_it_without_a_complaint(folder: Path) -> None:
    """``| head -1``."""
    command = [
        sys.executable,
        "-m",
        "captum_xdnn",
        *shlex.split("certify my_model:Net --shape 2,784"),
    ]
    places = os.pathsep.join((str(folder), str(Path(captum_xdnn.__file__).parents[1])))
    ours = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": places},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert ours.stdout is not None
    ours.stdout.close()
    _, said = ours.communicate()
    assert ours.returncode == 141, said
    assert b"Pipe" not in said
