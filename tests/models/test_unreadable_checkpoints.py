import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import write_checkpoint
from torch import nn

from captum_xdnn.models import load_checkpoint, x_cnn_small


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model_best.pth.tar"


def _refused(path: Path, match: str) -> None:
    model = x_cnn_small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RuntimeError, match=match) as caught:
        load_checkpoint(model, path)
    assert str(path) in str(caught.value)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_no_file(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model_best\.pth\.tar"):
        load_checkpoint(x_cnn_small(), path)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        load_checkpoint(x_cnn_small(), tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated(zipped: bool, share: float, path: Path) -> None:
    torch.save(x_cnn_small().state_dict(), path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    _refused(path, "cannot be read as a checkpoint: it is damaged")


@pytest.mark.parametrize(
    "content",
    [b"<!DOCTYPE html><title>404</title>", b"\x80\x02}q\x00.", bytes(range(256)), b"PK\x03\x04no"],
)
def test_no_file_of_torch(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    _refused(path, "cannot be read as a checkpoint|holds no state dict")


def test_a_zip_file_of_something_else(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("weights.txt", "1 2 3")
    _refused(path, "cannot be read as a checkpoint")


def test_damaged_bytes(path: Path) -> None:
    content = bytearray(write_checkpoint(path, x_cnn_small(), "module").read_bytes())
    content[-300:-100] = bytes(200)
    path.write_bytes(content)
    _refused(path, "cannot be read as a checkpoint")


class _Touches:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_code_in_the_file_does_not_run(path: Path, tmp_path: Path) -> None:
    torch.save({"state_dict": _Touches(tmp_path / "touched")}, path)
    _refused(path, "holds more than tensors and plain values")
    assert not (tmp_path / "touched").exists()


def test_a_whole_network(path: Path) -> None:
    torch.save(nn.Linear(2, 2), path)
    _refused(path, "holds more than tensors and plain values")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([1, 2], "found a list"),
        (torch.ones(3), "found a Tensor"),
        ({}, "found an empty dict"),
        ({"state_dict": {}}, "found a state dict of an empty dict"),
        ({"model": {"w": torch.ones(2)}, "epoch": 3}, "a dict with 'model': dict, 'epoch': int"),
        ({"state_dict": [1]}, "found a dict with 'state_dict': list"),
        ({"state_dict": {"w": 1.0}}, "found a state dict of a dict with 'w': float"),
        ({0: torch.ones(2)}, "found a dict with 0: Tensor"),
    ],
)
def test_no_state_dict_in_it(content: Any, found: str, path: Path) -> None:
    torch.save(content, path)
    _refused(path, rf"holds no state dict: expected tensors by name.*{found}$")
