"""``python -m captum_xdnn attribute``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fashion_mnist_files import write_bundled_images

from captum_xdnn import XIntegratedGradients
from captum_xdnn.cli import main
from captum_xdnn.data import load_fashion_mnist_samples
from captum_xdnn.dataset import read_shards
from captum_xdnn.models import x_cnn_small

MODEL = ["--model", "captum_xdnn.models:x_cnn_small", "--kwarg", "weights=DEFAULT"]
OF_THE_USER = """
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

net = nn.Sequential(nn.Linear(4, 3, bias=False), nn.ReLU())
rows = TensorDataset(torch.rand(9, 4), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 7]))
number = 3


def build():
    return TensorDataset(torch.rand(5, 4), torch.zeros(5, dtype=torch.int64))


class Photos(Dataset):
    def __getitem__(self, index):
        return torch.ones(4), 0

    def __len__(self):
        return 2


def stream():
    return iter([1])


def broken():
    raise OSError("no such disk")


class Doubled:
    def __call__(self, image):
        return torch.ones(1, 28, 28)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    pytest.importorskip("torchvision")
    return write_bundled_images(tmp_path)


@pytest.fixture(autouse=True)
def of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "of_a_user.py").write_text(OF_THE_USER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "of_a_user", raising=False)


def attribute(*options: Any) -> int:
    return main(["attribute", *map(str, options)])


def test_torchvisions_data(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = root / "out"
    command = (*MODEL, "--data", f"torchvision:FashionMNIST:{root}", "--out", out)
    assert attribute(*command, "--batch-size", 4) == 0
    said = capsys.readouterr()
    assert "10 samples attributed" in said.out
    assert "10/10" in said.err
    images, labels, _ = load_fashion_mnist_samples()
    xig = XIntegratedGradients(x_cnn_small(weights="DEFAULT").eval())
    found = read_shards(out)
    expected = xig.attribute(images, target=labels)
    torch.testing.assert_close(
        torch.from_numpy(found["attribution"]), expected, rtol=1e-4, atol=1e-5
    )
    assert attribute(*command) == 0
    assert "0 samples attributed (10 before)" in capsys.readouterr().out


def test_options(root: Path) -> None:
    data = f"torchvision:FashionMNIST:{root}"
    out = root / "out"
    options = (
        "--reduce",
        "channels",
        "--target",
        "predicted",
        "--workers",
        2,
        "--autocast",
        "bfloat16",
    )
    assert attribute(*MODEL, "--data", data, "--out", out, *options) == 0
    found = read_shards(out)
    assert found["attribution"].shape == (10, 28, 28)
    assert found["target"].tolist() == found["prediction"].tolist()
    further = ("--method", "IntegratedGradients", "--n-steps", 3, "--reduce", 5, "--target", 0)
    assert (
        attribute(*MODEL, "--data", data, "--out", root / "steps", *further, "--split", "train")
        == 0
    )
    assert read_shards(root / "steps")["place"].shape == (10, 5)
    transformed = ("--transform", "of_a_user:Doubled", "--shard-size", 3, "--device", "cpu")
    assert (
        attribute(*MODEL, "--data", data, "--out", root / "ones", *transformed, "--batch-size", 3)
        == 0
    )
    found = read_shards(root / "ones")
    assert set(found["prediction"]) == {found["prediction"][0]}
    assert len(list((root / "ones").glob("shard-*"))) == 4


def test_what_is_set_aside_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("--model", "of_a_user:net", "--data", "of_a_user:rows", "--out", tmp_path / "out")
    assert attribute(*command) == 1
    said = capsys.readouterr().out
    assert "8 samples attributed" in said
    assert "1 set aside, with reasons in rejects.csv:\n  8: label 7 is no index" in said
    assert attribute(*command, "--retry-rejected") == 1


@pytest.mark.parametrize(("data", "count"), [("build", 5), ("Photos", 2)])
def test_a_function_and_a_class_are_called(
    data: str, count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"of_a_user:{data}"
    command = ("--model", "of_a_user:net", "--data", address, "--out", tmp_path / "built")
    assert attribute(*command) == 0
    assert f"{count} samples attributed" in capsys.readouterr().out


WRONG: dict[str, tuple[tuple[Any, ...], str]] = {
    "no data": (("--data", "torchvision:FashionMNIST:nowhere"), "cannot read torchvision's FashionMNIST"),
    "no such data set": (("--data", "torchvision:Nothing:here"), "torchvision.datasets has no Nothing"),
    "no root": (("--data", "torchvision:FashionMNIST"), "expected torchvision:NAME:ROOT"),
    "no module": (("--data", "nothing_here:data"), "cannot import nothing_here"),
    "no address": (("--data", "somewhere"), "expected MODULE:CALLABLE"),
    "no callable": (("--data", "of_a_user:number"), "is a int, not a callable"),
    "fails": (("--data", "of_a_user:broken"), "OSError: no such disk"),
    "no index": (("--data", "of_a_user:stream"), "expected a map-style data set"),
    "no method": (("--data", "of_a_user:rows", "--method", "Nothing"), "captum.attr has no method Nothing"),
    "method's arguments": (
        ("--data", "of_a_user:rows", "--method", "IG(1, 2)"), "captum.attr has no method IG(1, 2)",
    ),
    "method of a layer": (
        ("--data", "of_a_user:rows", "--method", "LayerConductance"), "needs more than a model",
    ),
    "target": (("--data", "of_a_user:rows", "--target", "first"), "expected label, predicted or an index"),
    "reduction": (("--data", "of_a_user:rows", "--reduce", "-3"), "expected channels or a positive number"),
    "batch size": (("--data", "of_a_user:rows", "--batch-size", "0"), "batch_size"),
    "shard size": (("--data", "of_a_user:rows", "--shard-size", "0"), "positive"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_command_lines(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if "torchvision:" in str(WRONG[name][0]):
        pytest.importorskip("torchvision")
    options, said = WRONG[name]
    with pytest.raises(SystemExit) as exit_:
        attribute("--model", "of_a_user:net", "--out", tmp_path / "out", *options)
    assert exit_.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in line


def test_another_run_in_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("--model", "of_a_user:net", "--data", "of_a_user:build", "--out", tmp_path / "out")
    assert attribute(*command) == 0
    with pytest.raises(SystemExit):
        attribute(*command, "--target", 1)
    assert "holds another run" in capsys.readouterr().err
