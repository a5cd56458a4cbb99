import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib import pyplot as plt
from own_process import in_a_process_of_its_own

from captum_xdnn.cli import main

USER_MODULE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, bias=False, batch_norm=False):
        super().__init__()
        self.hidden = nn.Linear(4, 8, bias=bias)
        self.norm = nn.BatchNorm1d(8, affine=False) if batch_norm else nn.Identity()
        self.head = nn.Linear(8, 3, bias=False)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.hidden(x))))


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return torch.relu(x) + torch.relu(y)


class Shifted(nn.Module):
    def forward(self, x):
        return torch.relu(x - 2.0).sum(1, keepdim=True)


class Holder:
    builder = Net


instance = Net()
number = 3


def build():
    return Net()


def words():
    return nn.Sequential(nn.Embedding(9, 3), nn.Flatten(), nn.Linear(12, 2, bias=False))


def needs_argument(width):
    return nn.Linear(width, 1)


def returns_a_number():
    return 3


def fails():
    raise RuntimeError("first line\\nsecond line")
"""

Command = Callable[..., int]


@pytest.fixture
def certify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run the command in a folder that holds user_models.py; return the exit code."""
    (tmp_path / "user_models.py").write_text(USER_MODULE)
    (tmp_path / "broken.py").write_text("import a_module_that_is_not_there")
    (tmp_path / "script.py").write_text("raise SystemExit(0)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for module in ("user_models", "broken", "script"):
        monkeypatch.delitem(sys.modules, module, raising=False)

    def run(*arguments: str) -> int:
        try:
            return main(["certify", *arguments])
        except SystemExit as stop:
            return int(str(stop.code))

    return run


def test_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "user_models.py").write_text(USER_MODULE)
    arguments = ("user_models:Net", "--shape", "2,4", "--kwarg", "bias=True")
    done = in_a_process_of_its_own("certify", *arguments, folder=tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    assert "user_models:Net: Net, 64 parameters, evaluation mode; input 2x4 float32" in done.stdout
    assert "hidden (Linear)" in done.stdout


def test_the_one_line_of_a_usage_error(
    certify: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert certify("no_such_module:Net", "--shape", "2,4") == 2
    assert capsys.readouterr().err == (
        "python -m captum_xdnn: error: cannot import no_such_module: "
        "ModuleNotFoundError: No module named 'no_such_module'\n"
    )


@pytest.mark.parametrize("name", ["Net", "instance", "build", "Holder.builder"])
def test_class_instance_and_builder(certify: Command, name: str) -> None:
    assert certify(f"user_models:{name}", "--shape", "2,4") == 0


def test_bias_is_named(certify: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert certify("user_models:Net", "--shape", "2,4", "--kwarg", "bias=True") == 1
    report = capsys.readouterr().out
    assert "hidden (Linear)" in report


def test_baseline(certify: Command) -> None:
    # relu(x - 2) from 2 is homogeneous in x - 2; from 0 it is not.
    assert certify("user_models:Shifted", "--shape", "2,4") == 1
    assert certify("user_models:Shifted", "--shape", "2,4", "--baseline", "2") == 0


def test_several_inputs(certify: Command, capsys: pytest.CaptureFixture[str]) -> None:
    shapes = ("--shape", "2,4", "--shape", "2,1")
    assert certify("user_models:TwoInputs", *shapes) == 0
    assert "input 2x4, 2x1 float32, baseline 0, 0" in capsys.readouterr().out
    assert certify("user_models:TwoInputs", *shapes, "--baseline", "0", "--baseline", "1") == 1


def test_training_mode_is_kept_when_asked(certify: Command) -> None:
    norm = ("user_models:Net", "--shape", "2,4", "--kwarg", "batch_norm=True")
    # Fresh running statistics shift by nothing; those of a batch do not scale.
    assert certify(*norm) == 3  # which training changes
    assert certify(*norm, "--train") == 1


@pytest.mark.parametrize("address", ["user_models.py:Net", "./user_models.py:Net"])
def test_a_file(certify: Command, address: str) -> None:
    assert certify(address, "--shape", "2,4") == 0
    assert certify(address.replace("Net", "Nothing"), "--shape", "2,4") == 2
    assert certify(address.replace("user", "no"), "--shape", "2,4") == 2


def test_a_hint_for_embeddings(certify: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert certify("user_models:words", "--shape", "2,4") == 2
    assert "an embedding takes indices: --dtype int64" in capsys.readouterr().err


def test_double_precision(certify: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert certify("user_models:Net", "--shape", "2,4", "--dtype", "float64") == 0
    assert "input 2x4 float64" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Net", "--shape", "2,4"), "expected MODULE:CALLABLE or FILE.py:CALLABLE, for example"),
        (
            ("user_models:", "--shape", "2,4"),
            "expected MODULE:CALLABLE or FILE.py:CALLABLE, for example",
        ),
        (("broken:Net", "--shape", "2,4"), "cannot import broken: ModuleNotFoundError: No module"),
        (("script:Net", "--shape", "2,4"), "cannot import script: SystemExit: 0"),
        (("user_models:Nat", "--shape", "2,4"), "user_models has no Nat: AttributeError"),
        (("user_models:number", "--shape", "2,4"), "is a int: neither an nn.Module nor"),
        (("user_models:returns_a_number", "--shape", "2,4"), "returned a int, expected an nn.Mod"),
        (("user_models:needs_argument", "--shape", "2,4"), "failed: TypeError: needs_argument()"),
        (("user_models:fails", "--shape", "2,4"), "failed: RuntimeError: first line\n"),
        (
            ("user_models:instance", "--shape", "2,4", "--kwarg", "bias=1"),
            "takes no --kwarg (bias)",
        ),
        (("user_models:Net", "--shape", "2,5"), "does not run on input of shape (2, 5) (float32, "),
        (("user_models:Net",), "the following arguments are required: --shape"),
        (("user_models:Net", "--shape", "2,x"), "expected positive integers such as 1,3,224,224"),
        (("user_models:Net", "--shape", "0,4"), "expected positive integers such as 1,3,224,224"),
        (("user_models:Net", "--shape", ""), "expected positive integers such as 1,3,224,224"),
        (("user_models:Net", "--shape", "2,4", "--dtype", "float8"), "--dtype: invalid choice"),
        (("user_models:Net", "--shape", "2,4", "--baseline", "grey"), "--baseline: invalid float"),
        (
            ("user_models:Net", "--shape", "2,4", "--baseline", "0", "--baseline", "1"),
            "got 2 times --baseline for 1 times --shape",
        ),
        (("user_models:Net", "--shape", "2,4", "--device", "abacus"), "cannot use the device 'aba"),
        (("user_models:Net", "--shape", "2,4", "--device", "cuda:99"), "cannot use the device 'cu"),
        (
            ("user_models:Net", "--shape", "2,4", "--kwarg", "bias"),
            "expected NAME=VALUE, got 'bias'",
        ),
        (("user_models:Net", "--shape", "2,4", "--spell"), "unrecognized arguments: --spell"),
        (("user_models:Net", "--shape", "2,4", "--plot", "net.txt"), "cannot draw net.txt: a pict"),
        (("user_models:Net", "--shape", "2,4", "--plot", "broken.py/a.png"), "cannot make the fol"),
    ],
)
def test_usage_errors_take_one_line(
    certify: Command, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert certify(*arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert output.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "value"), [("bias=False", False), ("bias=None", None), ("bias=true", "true")]
)
def test_keyword_arguments_are_literals_or_strings(
    certify: Command, tmp_path: Path, text: str, value: object
) -> None:
    (tmp_path / "user_models.py").write_text(
        f"{USER_MODULE}\ndef check(bias):\n    assert bias == {value!r}\n    return Net()\n"
    )
    assert certify("user_models:check", "--shape", "2,4", "--kwarg", text) == 0


def test_help_says_how_the_model_is_found(
    certify: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert certify("--help") == 0
    text = capsys.readouterr().out
    assert "CALLABLE is an nn.Module it is the model" in text
    assert (
        "The exit code is 0 if a single pass is exact whatever the weights, 3 if it is for the weights"
        in text
    )


def test_a_picture(certify: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("user_models:Net", "--shape", "2,4", "--kwarg", "bias=True")
    assert certify(*arguments, "--plot", "new/net.png") == 1
    path = tmp_path / "new" / "net.png"
    assert f"Wrote {path}" in capsys.readouterr().out
    height, width, _ = plt.imread(path).shape
    assert width > 500 < 4 * height
