import hashlib
import io
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from checkpoint_files import write_checkpoint
from file_server import FileServer, serve

from captum_xdnn.models import x_cnn_small
from captum_xdnn.models.checkpoints import downloaded_state_dict

NAME = "xnet_model_best.pth.tar"


@pytest.fixture
def content() -> bytes:
    file = io.BytesIO()
    model = x_cnn_small(weights="FASHION_MNIST")
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": state}, file)
    return file.getvalue()


@pytest.fixture
def server(content: bytes) -> Iterator[FileServer]:
    with serve() as server:
        server.files[NAME] = content
        yield server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "hub" / "checkpoints"


def test_download_and_then_none(
    server: FileServer, folder: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = x_cnn_small(weights="FASHION_MNIST").state_dict()
    for _ in range(2):
        torch.testing.assert_close(downloaded_state_dict(server.url(NAME)), expected)
    assert server.requests == [NAME]
    assert [path.name for path in folder.iterdir()] == [NAME]
    assert (folder / NAME).read_bytes() == content
    said = capfd.readouterr()
    assert said.out == ""
    assert f"Downloading {server.url(NAME)} to {folder / NAME}" in said.err
    assert "100%" in said.err


def test_no_progress(server: FileServer, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    downloaded_state_dict(server.url(NAME), progress=False)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_was_put_there_by_hand(server: FileServer, folder: Path) -> None:
    folder.mkdir(parents=True)
    model = x_cnn_small()
    write_checkpoint(folder / NAME, model, "features.module")
    torch.testing.assert_close(downloaded_state_dict(server.url(NAME)), model.state_dict())
    assert server.requests == []


def test_a_damaged_file_that_was_put_there(server: FileServer, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(b"half")
    with pytest.raises(
        RuntimeError, match=r"cannot be read.* Delete the file to download it again"
    ):
        downloaded_state_dict(server.url(NAME))
    assert server.requests == []


@pytest.mark.parametrize("says_how_long", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_connection_that_breaks_off(
    server: FileServer, folder: Path, share: float, says_how_long: bool
) -> None:
    server.share, server.says_how_long = share, says_how_long
    with pytest.raises((RuntimeError, ConnectionError)) as caught:
        downloaded_state_dict(server.url(NAME), progress=False)
    assert server.url(NAME) in str(caught.value)
    assert str(folder / NAME) in str(caught.value)
    assert list(folder.iterdir()) == []

    server.share = 1.0
    assert downloaded_state_dict(server.url(NAME), progress=False)
    assert [path.name for path in folder.iterdir()] == [NAME]


def test_a_page_instead_of_the_file(server: FileServer, folder: Path) -> None:
    server.files[NAME] = b"<html>Log in to the network</html>"
    with pytest.raises(RuntimeError, match=r"is incomplete or no checkpoint\. Nothing was kept"):
        downloaded_state_dict(server.url(NAME), progress=False)
    assert list(folder.iterdir()) == []


def test_the_right_hash(server: FileServer, folder: Path, content: bytes) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    assert downloaded_state_dict(server.url(NAME), sha256=sha256, progress=False)


def test_a_wrong_hash(server: FileServer, folder: Path) -> None:
    with pytest.raises(RuntimeError, match=r"is not the file expected: invalid hash") as caught:
        downloaded_state_dict(server.url(NAME), sha256=64 * "0", progress=False)
    assert str(folder / NAME) in str(caught.value)
    assert list(folder.iterdir()) == []


def test_not_found(server: FileServer, folder: Path) -> None:
    with pytest.raises(ConnectionError, match="HTTP Error 404: Not Found") as caught:
        downloaded_state_dict(server.url("gone.pth.tar"), progress=False)
    assert server.url("gone.pth.tar") in str(caught.value)
    assert str(folder / "gone.pth.tar") in str(caught.value)
    assert list(folder.iterdir()) == []


def test_no_network(folder: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/{NAME}"
        with pytest.raises(ConnectionError, match="could not be downloaded") as caught:
            downloaded_state_dict(url, progress=False)
    assert url in str(caught.value)
    assert f"put the file at {folder / NAME}" in str(caught.value)
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_made(server: FileServer, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "hub").write_text("in the way")
    with pytest.raises(NotADirectoryError):
        downloaded_state_dict(server.url(NAME), progress=False)
